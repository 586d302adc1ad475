"""The life of one part: wait for what it needs, start, watch, restart, and stop after those that need it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local import health, process
from local.backoff import Backoff
from local.parts import Part
from local.state import Failure, PartState, PartStatus

UNHEALTHY_AFTER = 3
PROBE_SECONDS = 0.05
UNHEALTHY_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all keepers share.

    Attributes:
        environment: composes a part's environment anew at each start (LOCAL-006).
        report: is told of every change.
        failed: is told of a part that could not start; it then sets `stopping`.
        check_seconds: between health checks.
        stopping: set once, when the stack is to stop.
    """

    log: Path
    environment: Callable[[Part], Mapping[str, str]]
    report: Callable[[Part, PartStatus], None]
    failed: Callable[[Failure], None]
    check_seconds: float
    stopping: asyncio.Event


@dataclass(slots=True)
class Keeper:
    """Keeps one part running.

    Attributes:
        needs: keepers that must be ready before, and stopped after this one.
        ready: set when it was healthy for the first time, or done.
        stopped: set when it will not run again.
    """

    part: Part
    around: Surroundings
    needs: tuple["Keeper", ...] = ()
    needed_by: list["Keeper"] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    restart: asyncio.Event = field(default_factory=asyncio.Event)
    status: PartStatus = field(default_factory=PartStatus)

    async def keep(self) -> None:
        """Live until the stack stops, then stop after all that need this part."""
        self._now("waiting", ports=self.part.ports)
        try:
            for need in self.needs:
                await first(need.ready, self.around.stopping)
            if not self.around.stopping.is_set():
                await (self._serve() if self.part.probe else self._do())
            await self.around.stopping.wait()
            await self._others_stopped()
        finally:
            self.stopped.set()

    async def _do(self) -> None:
        """Run a step to its end."""
        child = await self._start()
        try:
            async with asyncio.TaskGroup() as group:
                ended = group.create_task(child.ended())
                await first(self.around.stopping, task=ended, seconds=self.part.deadline)
                ended.cancel()
        finally:
            await child.stop(self.part.stop)
        if child.process.returncode == 0:
            self._now("done", pid=None, ready_at=time.time())
            self.ready.set()
        elif not self.around.stopping.is_set():
            over = time.time() - (self.status.started_at or 0) >= self.part.deadline
            reason = f"not done within {self.part.deadline:g} s" if over else ending(child.process.returncode or 0)
            self._fail(child, reason)

    async def _serve(self) -> None:
        """Run a service until the stack stops, again and again if it must be."""
        backoff = Backoff()
        while not self.around.stopping.is_set():
            began = time.monotonic()
            self.restart.clear()
            reason = await self._run_once()
            if self.around.stopping.is_set():
                break
            if self.restart.is_set():
                wait = 0.0
            else:
                backoff = backoff.failed(time.monotonic() - began)
                wait = backoff.seconds()
            self._now("backoff", pid=None, reason=reason, restarts=self.status.restarts + 1)
            await first(self.around.stopping, self.restart, seconds=wait)
        if self.ready.is_set():
            self._now("stopped", pid=None, reason="")

    async def _run_once(self) -> str:
        """Start, watch, stop; return why it ended."""
        child = await self._start()
        try:
            reason = await self._become_healthy(child)
            if not reason:
                self._now("healthy", ready_at=time.time(), reason="")
                self.ready.set()
                reason = await self._watch(child)
            if not self.ready.is_set() and not self.around.stopping.is_set():
                self._fail(child, reason)
            await self._others_stopped()
            if self.ready.is_set():
                self._now("stopping")
        finally:
            await child.stop(self._how_to_stop())
        return reason

    async def _others_stopped(self) -> None:
        if self.around.stopping.is_set():
            for dependent in self.needed_by:
                await dependent.stopped.wait()

    def _how_to_stop(self) -> process.Stop:
        """Give a part that does not answer less time: it has nothing to finish that it could."""
        stop = self.part.stop
        seconds = stop.seconds if self.around.stopping.is_set() else min(stop.seconds, UNHEALTHY_STOP_SECONDS)
        return replace(stop, seconds=seconds)

    async def _start(self) -> process.Child:
        part, around = self.part, self.around
        log = around.log / f"{part.name}.log"
        child = await process.start(part.command, around.environment(part), log, part.stop.signal)
        self._now("starting", pid=child.pid, started_at=time.time(), ready_at=None)
        return child

    async def _become_healthy(self, child: process.Child) -> str:
        """Ask until the answer is good; return why it never was."""
        deadline = time.monotonic() + self.part.deadline
        wrong: str | None = "was not asked"
        while wrong and time.monotonic() < deadline:
            if (code := child.process.returncode) is not None:
                return ending(code)
            if self.around.stopping.is_set():
                return "the stack stops"
            if not (wrong := await self._ask()):
                return ""
            await first(self.around.stopping, seconds=PROBE_SECONDS)
        return f"not healthy within {self.part.deadline:g} s: {wrong}"

    async def _watch(self, child: process.Child) -> str:
        """Return when the part has ended, was found unhealthy too often, or is asked to stop or restart."""
        failures = 0
        async with asyncio.TaskGroup() as group:
            ended = group.create_task(child.ended())
            while failures < UNHEALTHY_AFTER:
                await first(self.around.stopping, self.restart, seconds=self.around.check_seconds, task=ended)
                if ended.done():
                    return ending(ended.result())
                if self.around.stopping.is_set() or self.restart.is_set():
                    ended.cancel()
                    return "the stack stops" if self.around.stopping.is_set() else "its sources changed"
                wrong = await self._ask()
                failures = failures + 1 if wrong else 0
                if wrong or self.status.state == "unhealthy":
                    self._now("unhealthy" if wrong else "healthy", reason=wrong or "")
            ended.cancel()
        return f"failed {failures} health checks: {self.status.reason}"

    async def _ask(self) -> str | None:
        return await health.ask(self.part.probe) if self.part.probe else None

    def _fail(self, child: process.Child, reason: str) -> None:
        self._now("failed", pid=None, reason=reason)
        self.around.failed(Failure(self.part.name, reason, str(child.log), child.last_lines()))

    def _now(self, state: PartState, **changes: object) -> None:
        self.status = replace(self.status, state=state, **changes)  # type: ignore[arg-type]
        self.around.report(self.part, self.status)


def ending(code: int) -> str:
    """Say how a process ended."""
    return f"ended with exit code {code}" if code >= 0 else f"ended by signal {-code}"


async def first(*events: asyncio.Event, seconds: float | None = None, task: asyncio.Task[int] | None = None) -> None:
    """Wait until one of these happens, or the time is over."""
    waits: list[asyncio.Task[bool]] = []
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait([*waits, *([task] if task else [])], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def linked(parts: tuple[Part, ...], around: Surroundings) -> dict[str, Keeper]:
    """Make a keeper for each part; parts stand after what they need."""
    keepers: dict[str, Keeper] = {}
    for part in parts:
        keeper = Keeper(part, around, tuple(keepers[name] for name in part.needs if name in keepers))
        for need in keeper.needs:
            need.needed_by.append(keeper)
        keepers[part.name] = keeper
    return keepers
