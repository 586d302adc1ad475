"""The listeners and the sessions behind them: who may come in, and how all of them leave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from typing_extensions import override

from relay.policy.census import Census
from relay.policy.load import DRAINING, SESSIONS, Load, Shed, account_sessions, address_sessions
from relay.smtp.dialogue import Dialogue
from relay.smtp.register import Register
from relay.smtp.session import RelaySMTP
from relay.smtp.visit import House
from relay.wire.protocol import LINGER_SECONDS

_BACKLOG: Final = 1024
# Sessions above the limit that are still told so; beyond, connections are cut without a word.
_MAX_REFUSALS: Final = 100
# In which a connection that was aborted is gone.
_ABORT_SECONDS: Final = 1.0


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
        load: what has an eye on the queue.

    Attributes:
        addresses: where it listens: STARTTLS first, then implicit TLS.
        ready: whether new sessions are welcome.
        stopping: set when it has been asked to stop.
    """

    def __init__(self, house: House, load: Load | None = None) -> None:
        self._house = house
        self.load = load or Load()
        self._census = Census()
        self._listeners: list[asyncio.Server] = []
        self.addresses: list[tuple[str, int]] = []
        self._tasks = asyncio.TaskGroup()
        self._talking: dict[Dialogue, asyncio.Task[None]] = {}
        self._connected: set[Dialogue] = set()
        self.draining = False
        self.dismissing = False
        self._hurried = False
        self._changed = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ready = False
        self.tally = Tally()

    @property
    def busy(self) -> bool:
        """Whether ending the task now would disturb somebody: mail on its way, or enough sessions signed in."""
        if self._census.signed_in > self._house.settings.relay_protect_sessions:
            return True
        return any(session.amid_mail for session in self._talking)

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
        """Let all sessions end well (SC-10.1): what was begun is finished, the others are told to come back.

        They are told at their next command, where a client reads the reply; who says nothing is told in the end
        unasked (RFC 5321, section 3.8).
        """
        settings = self._house.settings
        # A load balancer needs a while to see that we are not ready, and sends connections until then.
        self.ready = False
        await self._until(lambda: self._hurried, settings.relay_grace_seconds)
        self._close_listeners()
        self.draining = True
        patience = min(settings.relay_idle_drain_seconds, settings.relay_drain_seconds)
        await self._until(self._left, patience)
        self.dismissing = True
        for session in self.sessions:
            session.drain()
        await self._until(self._left, settings.relay_drain_seconds - patience)

    @override
    def approach(self, session: Dialogue) -> None:
        self._connected.add(session)

    @override
    def arrive(self, session: Dialogue) -> None:
        if len(self._talking) >= self._house.settings.relay_max_connections + _MAX_REFUSALS:
            self._house.metrics.connections.labels("refused").inc()
            self._house.metrics.shed.labels(SESSIONS.reason).inc()
            session.transport.abort()
            return
        self.tally.sessions += 1
        self._house.metrics.sessions.inc()
        self._talking[session] = self._tasks.create_task(session.converse())

    @override
    def welcome(self, session: Dialogue) -> Shed | None:
        settings, peer = self._house.settings, session.session.peer
        neighbours = self._census.meet(session, peer)
        if self.draining:
            return DRAINING
        if len(self._talking) > settings.relay_max_connections:
            return SESSIONS
        limit = settings.relay_max_sessions_per_address
        if limit and neighbours > limit and peer not in self._house.terms.exempt:
            return address_sessions(limit)
        return self.load.objection

    @override
    def sign_in(self, session: Dialogue) -> Shed | None:
        account = session.session.signed_in.account
        siblings = self._census.sign_in(session, account.id)
        limit = account.max_sessions or self._house.settings.relay_max_sessions_per_account
        return account_sessions(account.name, limit) if limit and siblings > limit else None

    @override
    def leave(self, session: Dialogue) -> None:
        del self._talking[session]
        self._census.leave(session)
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

    def _left(self) -> bool:
        return self._hurried or not self._connected

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()

    async def _cut(self) -> None:
        """End what is left, with a word where it can still be said."""
        self.tally.cut = len(self._talking)
        for task in self._talking.values():
            task.cancel()
        late = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._abort)
        await self._until(lambda: not self._connected, LINGER_SECONDS + _ABORT_SECONDS)
        late.cancel()

    def _abort(self) -> None:
        """Close what does not close by itself, such as a connection of which the peer is not known yet."""
        for session in self._connected:
            session.transport.abort()

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
