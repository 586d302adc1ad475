"""When the relay turns work away: too many sessions, or a queue that is too deep or too old."""

import asyncio
import dataclasses
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from backing.metrics import RelayMetrics
from mail.errors import Unavailable
from relay.policy.census import Census, neighbourhood
from relay.policy.load import BLIND_SECONDS, Load, Marks, Measure, Opinion, queue_measures
from tests.relay.house import ACCOUNT, CREDENTIAL, PLAIN, USER, Files, Running, relay, settings, until

pytestmark = pytest.mark.anyio

DEPTH = Marks(50_000, 40_000)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """A queue whose depth and age are what a test says; can be unreadable."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = {"depth": 0, "age": 0}
        self.fault: Exception | None = None

    def reading(self, name: str) -> float | None:
        if self.fault:
            raise self.fault
        return self.values[name]

    async def depth(self) -> float | None:
        return self.reading("depth")

    async def age(self) -> float | None:
        return self.reading("age")


class Watched:
    """A load, all it looks at, and its clock."""

    def __init__(self, files: Files) -> None:
        self.queue, self.clock, self.registry = Queue(), Clock(), CollectorRegistry()
        chosen = settings(files)
        readings = {"depth": self.queue.depth, "age": self.queue.age}
        self.measures: list[Measure] = queue_measures(lambda: chosen, RelayMetrics(self.registry), readings)
        self.load = Load(*self.measures, clock=self.clock)

    async def reason(self, depth: float | None = 0, age: float | None = 0, after: float = 0) -> str | None:
        """Why work is turned away once these have been read."""
        self.queue.values = {"depth": depth, "age": age}
        self.clock.now += after
        for measure in self.measures:
            await self.load.look(measure)
        return self.load.objection.reason if self.load.objection else None


def opinions(values: Iterator[tuple[float | None, float]]) -> Iterator[tuple[float, Opinion]]:
    opinion, now = Opinion(), 0.0
    for value, seconds in values:
        now += seconds
        opinion = opinion.after(value, DEPTH, now)
        yield now, opinion


@pytest.mark.requirement("SCALE-007")
def test_between_the_marks_things_stay_as_they_are() -> None:
    series = [(50_000, False), (50_001, True), (45_000, True), (40_000, True), (39_999, False), (45_000, False)]
    found = [opinion.exceeded for _, opinion in opinions(iter([(value, 5.0) for value, _ in series]))]
    assert found == [exceeded for _, exceeded in series]


readings = st.tuples(st.none() | st.integers(0, 100_000).map(float), st.floats(0, 300))


@given(st.lists(readings, max_size=30))
def test_an_opinion_is_never_older_than_it_may_be(values: list[tuple[float | None, float]]) -> None:
    latest = -math.inf
    for (value, _), (now, opinion) in zip(values, opinions(iter(values)), strict=True):
        latest = now if value is not None else latest
        if value is not None and value > DEPTH.high:
            assert opinion.exceeded
        if value is not None and value < DEPTH.low:
            assert not opinion.exceeded
        if now - latest >= BLIND_SECONDS:
            assert not opinion.exceeded


@pytest.mark.requirement("SCALE-007")
async def test_depth_and_age_each_have_their_reason(files: Files) -> None:
    watched = Watched(files)
    assert await watched.reason(50_000, 900) is None
    assert await watched.reason(50_001, 0) == "queue_depth"
    assert await watched.reason(50_001, 901) == "queue_depth"
    assert await watched.reason(39_999, 700) == "queue_age"
    assert await watched.reason(0, 599) is None
    assert watched.registry.get_sample_value("relay_queue_age_seconds") == 599


async def test_no_reading_keeps_the_state_for_two_minutes_and_then_accepts(files: Files) -> None:
    watched = Watched(files)
    assert await watched.reason(0, 1000) == "queue_age"
    assert await watched.reason(0, None, after=119) == "queue_age"
    assert math.isnan(watched.registry.get_sample_value("relay_queue_age_seconds") or 0)
    assert await watched.reason(0, None, after=1) is None
    assert await watched.reason(60_000, None) == "queue_depth"
    watched.queue.fault = Unavailable("SQS: away")
    assert await watched.reason(after=119) == "queue_depth"
    assert await watched.reason(after=1) is None
    watched.queue.fault = KeyError("Attributes")
    assert await watched.reason() is None
    watched.queue.fault = None
    assert await watched.reason(60_000) == "queue_depth"


async def test_a_fault_is_said_once_and_its_end_too(files: Files) -> None:
    with structlog.testing.capture_logs() as said:
        watched = Watched(files)
        for fault in (Unavailable("SQS: away"), Unavailable("SQS: still away"), None, None):
            watched.queue.fault = fault
            await watched.load.look(watched.measures[0])
    assert [(line["event"], line.get("reason")) for line in said] == [
        ("load not known", "SQS: away"),
        ("load known again", None),
    ]


@asynccontextmanager
async def loaded(files: Files, **changes: Any) -> AsyncIterator[tuple[Running, Watched]]:
    watched = Watched(files)
    async with relay(files, shedding=watched.load, **changes) as running:
        yield running, watched


@pytest.mark.requirement("SCALE-007")
async def test_a_deep_queue_turns_away_at_the_door_and_at_mail(files: Files) -> None:
    async with loaded(files) as (running, watched):
        before, between = await running.signed_in(), await running.signed_in()
        await between.ask("MAIL FROM:<me@example.com>", "250")
        await watched.reason(50_001)
        for implicit in (True, False):
            stranger = await running.connect(implicit_tls=implicit)
            await stranger.expect("421 4.3.2 Too many messages wait for delivery, try again later ref=")
            assert await stranger.rest() == b""
            await stranger.close()
        await before.ask("NOOP", "250")
        await before.ask("MAIL FROM:<me@example.com>", "421 4.3.2 Too many messages wait for delivery")
        assert await before.rest() == b""
        # What was begun is finished.
        await between.ask("RCPT TO:<you@example.net>", "250")
        await between.ask("DATA", "354")
        await between.ask(".", "250")
        assert running.counted("relay_shed_total", reason="queue_depth") == 3
        assert running.counted("relay_connections_total", result="refused") == 2
        await watched.reason(45_000)
        await (await running.connect(implicit_tls=True)).expect("421")
        await watched.reason(39_999)
        assert (await (await running.signed_in()).submit(b"x")).startswith("250")
        assert len(running.queue.sent) == 2


async def test_an_old_queue_has_its_own_words(files: Files) -> None:
    async with loaded(files) as (running, watched):
        await watched.reason(0, 901)
        await (await running.connect(implicit_tls=True)).expect(
            "421 4.3.2 Messages wait too long for delivery, try again later ref="
        )
        assert running.counted("relay_shed_total", reason="queue_age") == 1


async def test_the_queue_is_watched_while_the_relay_runs(files: Files) -> None:
    watched = Watched(files)
    watched.queue.values["depth"] = 50_001
    async with watched.load.running():
        await until(lambda: watched.load.objection is not None)
    assert watched.load.objection is not None


@pytest.mark.requirement("CORE-SMTP-005")
async def test_an_address_has_so_many_sessions_and_no_more(files: Files) -> None:
    async with relay(files, relay_max_sessions_per_address=2) as running:
        first, _ = [await running.connect(implicit_tls=True) for _ in range(2)]
        await first.expect("220")
        await until(lambda: running.server.tally.sessions == 2)
        third = await running.connect(implicit_tls=True)
        await third.expect("421 4.7.0 Too many sessions from your address (limit 2) ref=")
        assert await third.rest() == b""
        assert running.counted("relay_shed_total", reason="address_sessions") == 1
        await first.ask("QUIT", "221")
        await first.rest()
        await (await running.connect(implicit_tls=True)).expect("220")


async def test_exempt_networks_have_no_limit_per_address(files: Files) -> None:
    exempt: dict[str, Any] = {"relay_max_sessions_per_address": 1, "relay_exempt_networks": "10.0.0.0/8, 127.0.0.0/8"}
    async with relay(files, **exempt) as running:
        for _ in range(3):
            await (await running.connect(implicit_tls=True)).expect("220")


@pytest.mark.requirement("CORE-SMTP-005")
async def test_an_account_has_so_many_sessions_and_no_more(files: Files) -> None:
    async with relay(files, relay_max_sessions_per_account=2) as running:
        first, _ = await running.signed_in(), await running.signed_in()
        third = await running.connect(implicit_tls=True)
        await third.expect("220")
        await third.ask("EHLO a.example", "250")
        await third.ask(f"AUTH PLAIN {PLAIN}", "421 4.7.0 Too many sessions of account shop (limit 2) ref=")
        assert await third.rest() == b""
        assert running.counted("relay_shed_total", reason="account_sessions") == 1
        await first.ask("QUIT", "221")
        await first.rest()
        await running.signed_in()


async def test_the_limit_of_an_account_is_its_own_where_it_has_one(files: Files) -> None:
    async with relay(files, relay_max_sessions_per_account=1) as running:
        account = dataclasses.replace(ACCOUNT, max_sessions=3)
        running.accounts.credentials[USER] = dataclasses.replace(CREDENTIAL, account=account)
        for _ in range(3):
            await running.signed_in()
        fourth = await running.connect(implicit_tls=True)
        await fourth.expect("220")
        await fourth.ask("EHLO a.example", "250")
        await fourth.ask(f"AUTH PLAIN {PLAIN}", "421 4.7.0 Too many sessions of account shop (limit 3)")


async def test_a_draining_relay_counts_whom_it_sends_away(files: Files) -> None:
    async with relay(files) as running, asyncio.TaskGroup() as tasks:
        peer = await running.signed_in()
        tasks.create_task(running.server.drain())
        await peer.expect("421 4.3.2 Shutting down")
        assert running.counted("relay_shed_total", reason="draining") == 1


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["meet", "sign in", "leave"]), st.integers(0, 2))))
def test_a_census_counts_who_is_here_and_forgets_who_left(steps: list[tuple[int, str, int]]) -> None:
    census, met, signed = Census(), dict[int, str](), dict[int, UUID]()
    for session, step, which in steps:
        if step == "meet":
            met[session] = f"10.0.0.{which}"
            assert census.meet(session, met[session]) == list(met.values()).count(met[session])
        elif step == "sign in":
            signed[session] = UUID(int=which)
            assert census.sign_in(session, signed[session]) == list(signed.values()).count(signed[session])
        else:
            census.leave(session)
            met.pop(session, None)
            signed.pop(session, None)
        assert census.signed_in == len(signed)
    for session in range(10):
        census.leave(session)
    assert all(not value for value in vars(census).values())


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.1", 1),
        ("192.0.2.1", "192.0.2.2", 2),
        ("2001:db8::1", "2001:db8::ffff:1", 1),
        ("2001:db8::1", "2001:db8:0:1::1", 2),
        ("::ffff:192.0.2.1", "192.0.2.1", 1),
    ],
)
def test_ipv6_counts_by_network(one: str, other: str, together: int) -> None:
    assert len({neighbourhood(one), neighbourhood(other)}) == together
