"""Start the parts in order, keep them running, stop them in reverse: the story of `python -m local up`."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace

from local import leftovers, lock, ports, postgres, reload, settings, state, valkey
from local.arguments import Options
from local.keeper import Keeper, Surroundings, linked
from local.parts import DOORS, Door, Ground, Part, product_environment, selected, table, wanted_ports
from local.places import Places
from local.private import write_credentials
from local.state import Failure, PartStatus, Phase, Stack

PARENT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Audience:
    """The people who watch.

    Attributes:
        changed: is told of each change of a part.
        ready: is told once, when everything is healthy.
        say: is told the rest.
    """

    changed: Callable[[str, PartStatus], None]
    ready: Callable[[Stack], None]
    say: Callable[[str], None]


@dataclass(slots=True)
class Supervisor:
    """Runs one stack."""

    stack: Stack
    parts: tuple[Part, ...]
    options: Options
    audience: Audience
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Stack:
        """Run until told to stop, or until a part could not start."""
        log = Places(self.stack.state_dir).log
        around = Surroundings(
            log, self._environment, self._report, self._failed, self.options.check_seconds, self.stopping
        )
        keepers = linked(self.parts, around)
        self._write("starting")
        with self._signals(), suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._celebrate(keepers)), group.create_task(self._follow_parent())]
                if self.options.reload:
                    helpers.append(group.create_task(reload.watch(keepers.values())))
                async with asyncio.TaskGroup() as lives:
                    for keeper in keepers.values():
                        lives.create_task(keeper.keep())
                for helper in helpers:
                    helper.cancel()
        self._write("failed" if self.stack.failure else "stopped")
        return self.stack

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, task)
        yield
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def _signalled(self, task: "asyncio.Task[object] | None") -> None:
        if self.stopping.is_set() and task:
            self.audience.say("killing everything")
            task.cancel()
        self._stop("stopping; once more kills everything")

    def _stop(self, why: str) -> None:
        self.audience.say(why)
        self.stopping.set()
        self._write("stopping")

    async def _celebrate(self, keepers: Mapping[str, Keeper]) -> None:
        for keeper in keepers.values():
            await keeper.ready.wait()
        self._write("running")
        self.audience.ready(self.stack)

    async def _follow_parent(self) -> None:
        parent = os.getppid()
        while not self.options.follow_parent or os.getppid() == parent:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(PARENT_SECONDS)
        self._stop("whoever started this is gone")

    def _environment(self, part: Part) -> dict[str, str]:
        dotenv = settings.overrides(Places(self.stack.state_dir).env_file) if part.dotenv else {}
        return settings.composed(settings.inherited(), part.environment, dotenv)

    def _report(self, part: Part, status: PartStatus) -> None:
        self.stack = replace(self.stack, parts={**self.stack.parts, part.name: status})
        self._write(self.stack.phase)
        self.audience.changed(part.name, status)

    def _failed(self, failure: Failure) -> None:
        if not self.stack.failure:
            self.stack = replace(self.stack, failure=failure)
        self._stop(f"{failure.part} could not start: {failure.reason}")

    def _write(self, phase: Phase) -> None:
        self.stack = replace(self.stack, phase=phase)
        state.write(Places(self.stack.state_dir).stack_file, self.stack)


def supervise(options: Options, audience: Audience, doors: Iterable[Door] = DOORS) -> Stack:
    """Run a stack in this process until it is told to stop.

    Raises:
        AlreadyRunning: another supervisor holds the state folder.
    """
    doors = tuple(doors)
    places = Places(options.state)
    places.create()
    with lock.held(options.state):
        earlier = state.read(places.stack_file)
        if earlier:
            leftovers.clear(earlier, audience.say)
        write_credentials(places.aws_credentials)
        block = ports.reserve()
        with closing(block.guard):
            chosen = ports.choose(
                preferred(doors, places), earlier.ports if earlier else {}, block, only_free=options.free_ports
            )
            ground = Ground(
                places=places,
                ports=chosen,
                cluster=postgres.here(places),
                valkey=valkey.binary(),
                fast=options.fast,
                rsa=options.rsa,
                hosts=options.hosts,
            )
            parts = table(ground, doors)
            stack = Stack(
                state_dir=options.state,
                phase="starting",
                pid=os.getpid(),
                started_at=time.time(),
                ports=chosen,
                environment=product_environment(ground),
            )
            wanted = selected(parts, options.only or (part.name for part in parts))
            return asyncio.run(Supervisor(stack, wanted, options, audience).run())


def preferred(doors: Iterable[Door], places: Places) -> dict[str, int]:
    """Return the usual ports, with the numbers that the .env gives some of them."""
    named = settings.overrides(places.env_file)
    return {name: int(named.get(name, usual)) for name, usual in wanted_ports(doors).items()}
