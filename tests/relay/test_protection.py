"""Protection from scale-in: when it is asked for, against an ECS agent that answers, refuses, fails or hangs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession, ClientTimeout, web
from hypothesis import given
from hypothesis import strategies as st

from backing.ecs import TaskProtection
from relay.protection import LEASE_SECONDS, QUIET_SECONDS, RENEW_SECONDS, Lease, Protection, Situation
from tests.relay.house import Files, relay, until

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("SCALE-010")]

ON = {"ProtectionEnabled": True, "ExpiresInMinutes": 5}
OFF = {"ProtectionEnabled": False}
MINUTE = 60.0


@dataclass
class Agent:
    """An ECS agent: keeps what it was asked, answers as it is told."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    body: dict[str, Any] | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        await self.answers.wait()
        if self.status != 200:
            return web.json_response({"error": {"Code": "ThrottlingException"}}, status=self.status)
        granted = {"TaskArn": "arn:aws:ecs:x", "ProtectionEnabled": self.asked[-1]["ProtectionEnabled"]}
        return web.json_response(self.body or {"protection": granted})


class Task:
    """A task: its agent, its time, its protection."""

    def __init__(self, agent: Agent, http: ClientSession, url: str) -> None:
        self.agent, self.now, self.active, self.longest = agent, 0.0, True, 60 * MINUTE
        self.stopping, self.shown = asyncio.Event(), list[float]()
        self.protection = Protection(TaskProtection(http, url), self._look, self.stopping, self.shown.append)

    def _look(self) -> Situation:
        return Situation(self.now, self.active, self.stopping.is_set(), self.longest)

    async def asks(self, after: float = 0, *, active: bool = True) -> list[dict[str, Any]]:
        """What the task asks of its agent in one look."""
        self.now += after
        self.active = active
        self.agent.asked.clear()
        await self.protection.step()
        return list(self.agent.asked)


@asynccontextmanager
async def task() -> AsyncIterator[Task]:
    agent = Agent()
    agent.answers.set()
    application = web.Application()
    application.add_routes([web.put("/api/task-protection/v1/state", agent.put)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}/api/".format(*runner.addresses[0][:2])
        async with ClientSession(timeout=ClientTimeout(total=0.2)) as http:
            yield Task(agent, http, url)
    finally:
        await runner.cleanup()


async def test_protected_while_active_renewed_and_released_when_quiet() -> None:
    async with task() as one:
        assert await one.asks(active=False) == []
        assert await one.asks(5) == [ON]
        assert await one.asks(RENEW_SECONDS - 1) == []
        assert await one.asks(1) == [ON]
        assert await one.asks(QUIET_SECONDS - 1, active=False) == []
        assert await one.asks(0) == []
        assert await one.asks(QUIET_SECONDS, active=False) == [OFF]
        assert await one.asks(5, active=False) == []
        assert one.shown == [0, 1, 1, 1, 1, 1, 0, 0]
        assert await one.asks(5) == [ON]


async def test_a_task_that_is_never_quiet_is_free_for_one_lease_in_an_hour() -> None:
    async with task() as one:
        asked = [(one.now, request) for _ in range(2 * 12 * 70) for request in await one.asks(5)]
        released = [now for now, request in asked if request == OFF]
        granted = [now for now, request in asked if request == ON]
        assert released[0] == 5 + 60 * MINUTE
        assert min(now for now in granted if now > released[0]) == released[0] + LEASE_SECONDS
        assert len(released) == 2


async def test_a_draining_task_is_released_at_once() -> None:
    async with task() as one:
        assert await one.asks() == [ON]
        one.agent.status = 500
        one.stopping.set()
        assert await one.asks(1) == [OFF]
        one.agent.status = 200
        assert await one.asks(1) == [OFF]
        assert await one.asks(1) == []


@pytest.mark.parametrize("trouble", ["429", "500", "refusal", "hangs", "nonsense"])
async def test_a_failing_agent_is_said_once_and_asked_again_later(trouble: str) -> None:
    with structlog.testing.capture_logs() as said:
        async with task() as one:
            match trouble:
                case "hangs":
                    one.agent.answers.clear()
                case "refusal":
                    one.agent.body = {"failure": {"Reason": "TASK_NOT_VALID"}}
                case "nonsense":
                    one.agent.body = {"protection": []}
                case _:
                    one.agent.status = int(trouble)
            assert await one.asks() == [ON]
            assert await one.asks(29) == []
            assert await one.asks(1) == [ON]
            one.agent.answers.set()
            one.agent.status, one.agent.body = 200, None
            assert await one.asks(30) == [ON]
            assert one.shown == [0, 0, 0, 1]
    assert [line["event"] for line in said] == ["task protection not changed", "task protection works again"]
    words = {"429": "429", "500": "500", "refusal": "TASK_NOT_VALID", "hangs": "Timeout", "nonsense": "not as asked"}
    assert words[trouble] in said[0]["reason"]


async def test_an_agent_that_is_not_there_disturbs_nobody() -> None:
    async with ClientSession() as http:
        one = Task(Agent(), http, "http://127.0.0.1:9")
        assert await one.asks() == []
        assert one.shown == [0]


async def test_a_lease_that_could_not_be_renewed_runs_out() -> None:
    async with task() as one:
        await one.asks()
        one.agent.status = 500
        for _ in range(10):
            await one.asks(30)
        assert one.shown[-2:] == [1, 0]
        one.agent.status = 200
        await one.asks(30)
        assert one.protection.lease.since == one.now


@given(st.lists(st.tuples(st.floats(0.1, 400), st.booleans(), st.booleans()), max_size=60))
def test_no_protection_outlasts_its_cap_and_none_begins_in_a_drain(looks: list[tuple[float, bool, bool]]) -> None:
    lease, now, drained = Lease(), 0.0, False
    for seconds, active, draining in looks:
        now, drained = now + seconds, drained or draining
        situation = Situation(now, active, drained, 10 * MINUTE)
        lease = lease.seen(situation)
        step = lease.next_step(situation)
        if step:
            lease = lease.after(step, situation)
        if drained:
            assert lease.since is None
        if lease.since is not None:
            assert now - lease.since < 10 * MINUTE
            assert now - lease.renewed < RENEW_SECONDS


async def test_it_runs_beside_the_service_and_lets_go_when_told_to_stop() -> None:
    async with task() as one:
        one.active = False
        async with one.protection.running():
            await until(lambda: one.shown == [0])
            # It looks again by itself.
            one.active = True
            await until(lambda: one.agent.asked == [ON])
            one.stopping.set()
            await until(lambda: one.agent.asked == [ON, OFF])
            await until(lambda: not any("Protection._watch" in repr(each) for each in asyncio.all_tasks()))


async def test_busy_is_who_is_signed_in_or_sends(files: Files) -> None:
    async with relay(files, relay_protect_sessions=1) as running:

        def busy() -> bool:
            return running.server.busy

        assert not busy()
        first = await running.signed_in()
        assert not busy()
        await first.ask("MAIL FROM:<me@example.com>", "250")
        assert busy()
        await first.ask("RSET", "250")
        assert not busy()
        second = await running.signed_in()
        assert busy()
        await second.ask("QUIT", "221")
        await second.rest()
        await until(lambda: not busy())
