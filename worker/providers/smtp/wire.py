"""The wire to an SMTP peer: octets go out, replies come in, each of them asked for."""

import asyncio
import ssl
from typing import Any, cast

from typing_extensions import override

from worker.providers.smtp.replies import CLOSING, Broken, Reply, ReplyReader


class Wire(asyncio.Protocol):
    """One connection; one task at a time may use it.

    A reply that nobody asked for ends it: the next one would be taken for the answer to something else.

    Args:
        timeout: seconds for one reply.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._reader = ReplyReader()
        self._owed = 1  # the greeting
        self._fault: Broken | None = None
        self._closing = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether neither side has ended it, as far as we were told."""
        return self._fault is None and not self._closing

    @property
    def all_out(self) -> bool:
        """Whether the system has taken everything that was written."""
        return not self._paused

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate in DER, or None without TLS."""
        tls = self.told("ssl_object")
        return tls.getpeercert(binary_form=True) if tls else None

    def told(self, name: str) -> Any:
        """What the transport tells of itself, by asyncio's names for it."""
        return self._transport.get_extra_info(name)

    def write(self, octets: bytes | memoryview, replies: int) -> None:
        """Send octets that the peer owes so many replies to.

        Raises:
            Broken: the connection has ended.
        """
        if self._fault:
            raise Broken(str(self._fault)) from self._fault
        self._owed += replies
        self._transport.write(octets)

    @property
    def answered(self) -> bool:
        """Whether a reply is there that was not read yet."""
        return bool(self._reader.replies)

    async def reply(self, *, patient: bool = False) -> Reply:
        """Give the next reply; the patient wait for it without end.

        Raises:
            Broken: there will be none.
            TimeoutError: there was none in time.
        """
        while not self._reader.replies:
            if self._fault:
                raise Broken(str(self._fault)) from self._fault
            await self._news(None if patient else self._timeout)
        return self._reader.replies.popleft()

    async def drained(self) -> None:
        """Wait until everything is out, or the peer has answered or gone; others have a turn in any case."""
        await asyncio.sleep(0)
        while self._paused and not self._reader.replies and not self._fault:
            await self._news(None)

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Go on with TLS.

        Raises:
            Broken: the peer has already said more, which anybody on the way could have added (RFC 3207, section 6).
            OSError: the handshake failed; an `SSLError` is one.
        """
        if self._fault or self._transport.is_closing():
            raise Broken(str(self._fault or "it closed the connection"))
        if self._reader.replies or self._reader.amid_reply:
            raise Broken("it said something before TLS")
        transport = await asyncio.get_running_loop().start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=self._timeout
        )
        if transport is None:
            raise Broken("it hung up during the TLS handshake")
        self.connection_made(transport)

    def close(self) -> None:
        """Hang up when everything is out."""
        self._fault = self._fault or Broken("the connection is closed")
        self._transport.close()

    def abort(self) -> None:
        """Hang up now."""
        self._fault = self._fault or Broken("the connection is closed")
        self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        # So that `pause_writing` says of every octet whether it is out. A TLS transport pauses from this mark on,
        # where others pause above it; with 0 it would never go on.
        self._transport.set_write_buffer_limits(high=1 if self._transport.get_extra_info("sslcontext") else 0, low=0)

    @override
    def data_received(self, data: bytes) -> None:
        replies = self._reader.replies
        before = len(replies)
        try:
            self._reader.feed(data)
        except Broken as fault:
            self._fail(fault)
        self._owed -= len(replies) - before
        while self._owed < 0:
            self._owed += 1
            surplus = replies.pop()
            self._fail(Broken(f"it said {surplus.code} {surplus.text} without being asked"))
        if replies and replies[-1].code == CLOSING:
            self._closing = True
        self._wake()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._fault = self._fault or Broken(str(exc) if exc else "it closed the connection")
        self._wake()

    @override
    def pause_writing(self) -> None:
        self._paused = True

    @override
    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _fail(self, fault: Broken) -> None:
        self._fault = self._fault or fault
        self._transport.abort()

    async def _news(self, timeout: float | None) -> None:  # noqa: ASYNC109 - a context manager for each reply costs more
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, _expire, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


def _expire(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
