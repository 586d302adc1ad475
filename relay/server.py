"""The listeners and the sessions behind them: who may come in, and how all of them leave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from typing_extensions import override

from relay.dialogue import Dialogue, Register
from relay.protocol import LINGER_SECONDS
from relay.session import RelaySMTP
from relay.visit import House

_BACKLOG: Final = 1024
# Sessions above the limit that are still told so; beyond, connections are cut without a word.
_MAX_REFUSALS: Final = 100


@dataclass(slots=True)
class Tally:
    """What the relay did in its life."""

    sessions: int = 0
    accepted: int = 0
    refused: int = 0
    deferred: int = 0
    cut: int = 0


class RelayServer(Register):
    """Serves SMTP on both ports.

    Args:
        house: what its sessions lean on.

    Attributes:
        addresses: where it listens: STARTTLS first, then implicit TLS.
        ready: whether new sessions are welcome.
        stopping: set when it has been asked to stop.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._listeners: list[asyncio.Server] = []
        self.addresses: list[tuple[str, int]] = []
        self._tasks = asyncio.TaskGroup()
        self._talking: dict[Dialogue, asyncio.Task[None]] = {}
        self._connected: set[Dialogue] = set()
        self._draining = False
        self._hurried = False
        self._changed = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ready = False
        self.tally = Tally()

    @property
    @override
    def draining(self) -> bool:
        return self._draining

    @property
    def sessions(self) -> list[Dialogue]:
        """The sessions that go on now."""
        return list(self._talking)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["RelayServer"]:
        """Listen until the block ends; whoever is still there then is cut off."""
        settings = self._house.settings
        async with self._tasks:
            try:
                await self._listen(settings.relay_starttls_port, implicit_tls=False)
                await self._listen(settings.relay_tls_port, implicit_tls=True)
                self.ready = True
                yield self
            finally:
                self.ready = False
                self._close_listeners()
                await self._cut()

    def stop(self) -> None:
        """Ask for the end; asked again, there is no more waiting for anybody."""
        self._hurried = self.stopping.is_set()
        self.stopping.set()
        self._changed.set()

    async def drain(self) -> None:
        """Let all sessions end well: what was begun is finished, who is idle is told to come back (SC-10.1)."""
        settings = self._house.settings
        # A load balancer needs a while to see that we are not ready, and sends connections until then.
        self.ready = False
        await self._until(lambda: self._hurried, settings.relay_grace_seconds)
        self._close_listeners()
        self._draining = True
        for session in self.sessions:
            session.drain()
        await self._until(lambda: self._hurried or not self._connected, settings.relay_drain_seconds)

    @override
    def arrive(self, session: Dialogue) -> None:
        self._connected.add(session)
        if len(self._talking) >= self._house.settings.relay_max_connections + _MAX_REFUSALS:
            self._house.metrics.connections.labels("refused").inc()
            session.transport.abort()
            return
        self.tally.sessions += 1
        self._house.metrics.sessions.inc()
        self._talking[session] = self._tasks.create_task(session.converse())

    @override
    def welcome(self) -> bool:
        return len(self._talking) <= self._house.settings.relay_max_connections

    @override
    def leave(self, session: Dialogue) -> None:
        del self._talking[session]
        self._house.metrics.sessions.dec()
        self.tally.accepted += session.session.accepted
        self.tally.refused += session.session.refused
        self.tally.deferred += session.session.deferred

    @override
    def lost(self, session: Dialogue) -> None:
        self._connected.discard(session)
        self._changed.set()

    async def _listen(self, port: int, *, implicit_tls: bool) -> None:
        listener = await asyncio.get_running_loop().create_server(
            lambda: RelaySMTP(self._house, self, implicit_tls=implicit_tls),
            self._house.settings.relay_host,
            port,
            backlog=_BACKLOG,
        )
        self._listeners.append(listener)
        self.addresses.append(listener.sockets[0].getsockname()[:2])
        structlog.get_logger().info("listening", address=self.addresses[-1], implicit_tls=implicit_tls)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _cut(self) -> None:
        """End what is left, with a word where it can still be said."""
        self.tally.cut = len(self._talking)
        for task in self._talking.values():
            task.cancel()
        await self._until(lambda: not self._connected, LINGER_SECONDS)
        for session in self._connected:
            session.transport.abort()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
