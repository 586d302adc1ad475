"""When ECS may not end this task (SCALE-010): short leases while sessions are active, with a cap and a pause."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol

import structlog

from mail.errors import Unavailable

LEASE_MINUTES: Final = 5
LEASE_SECONDS: Final = 60.0 * LEASE_MINUTES
RENEW_SECONDS: Final = 120.0
# A task that has had nothing to do for so long may go.
QUIET_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 1.0
# The agent allows few requests; one that failed is not repeated at every look.
RETRY_SECONDS: Final = 30.0

Step = Literal["protect", "release"]


class Agent(Protocol):
    """What grants protection: `backing.ecs.TaskProtection`."""

    async def protect(self, minutes: int) -> None:
        """Be protected for so long from now. Raises `Unavailable`."""

    async def release(self) -> None:
        """Be protected no more. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on.

    Attributes:
        now: seconds that only ever grow.
        active: whether ending the task would disturb somebody.
        draining: whether it is ending anyway.
        longest_seconds: longest protection without a pause.
    """

    now: float
    active: bool
    draining: bool
    longest_seconds: float


@dataclass(frozen=True, slots=True)
class Lease:
    """What is known of the protection; all times are those of `Situation.now`.

    Attributes:
        since: begin of the protection, None where there is none.
        renewed: when it was last granted.
        active: when somebody was last active.
        pause_until: before this there is no new one.
    """

    since: float | None = None
    renewed: float = 0.0
    active: float | None = None
    pause_until: float | None = None

    def seen(self, situation: Situation) -> "Lease":
        """Note who is active, and a protection that has run out."""
        lease = replace(self, active=situation.now) if situation.active else self
        expired = lease.since is not None and situation.now - lease.renewed >= LEASE_SECONDS
        return replace(lease, since=None) if expired else lease

    def next_step(self, situation: Situation) -> Step | None:
        """What to ask for now."""
        now = situation.now
        busy = self.active is not None and now - self.active < QUIET_SECONDS and not situation.draining
        if self.since is None:
            paused = self.pause_until is not None and now < self.pause_until
            return "protect" if busy and not paused else None
        if not busy or now - self.since >= situation.longest_seconds:
            return "release"
        return "protect" if now - self.renewed >= RENEW_SECONDS else None

    def after(self, step: Step, situation: Situation) -> "Lease":
        """The lease after a step that was granted; a release for its length leaves ECS one lease to end the task."""
        now = situation.now
        if step == "protect":
            return replace(self, since=now if self.since is None else self.since, renewed=now)
        capped = self.since is not None and now - self.since >= situation.longest_seconds
        return replace(self, since=None, pause_until=now + LEASE_SECONDS if capped else None)


class Protection:
    """Keeps the task protected while it is needed; a failing agent is logged and never disturbs the service.

    Args:
        agent: what grants protection.
        look: gives the situation.
        stopping: set when the process is to end.
        show: makes visible whether the task is protected.
    """

    def __init__(
        self,
        agent: Agent,
        look: Callable[[], Situation],
        stopping: asyncio.Event,
        show: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._agent = agent
        self._look = look
        self._stopping = stopping
        self._show = show
        self._log = structlog.get_logger()
        self._failing = False
        self._retry_at = 0.0
        self.lease = Lease()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Protection"]:
        """Look after the protection until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            try:
                yield self
            finally:
                watch.cancel()

    async def step(self) -> None:
        """Look once, and ask for what is needed."""
        situation = self._look()
        self.lease = self.lease.seen(situation)
        step = self.lease.next_step(situation)
        # A release that ends the task's life is tried at once, whatever failed before.
        if step and (situation.now >= self._retry_at or situation.draining):
            asked = self._agent.protect(LEASE_MINUTES) if step == "protect" else self._agent.release()
            if await self._granted(asked, situation.now):
                self.lease = self.lease.after(step, situation)
        self._show(self.lease.since is not None)

    async def _granted(self, asked: Awaitable[None], now: float) -> bool:
        try:
            await asked
        except Unavailable as fault:
            self._retry_at = now + RETRY_SECONDS
            if not self._failing:
                self._log.warning("task protection not changed", reason=str(fault))
            self._failing = True
            return False
        if self._failing:
            self._log.info("task protection works again")
        self._failing = False
        return True

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            await self.step()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()
            except TimeoutError:
                continue
        while self.lease.since is not None:
            await self.step()
            await asyncio.sleep(1)
