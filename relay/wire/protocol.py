"""One connection: octets from the transport, through TLS, to lines, and replies back.

Takes the place of aiosmtpd's stream reader and writer, which keep a message without line ends for ever, write each
reply by itself, run TLS at 287 KiB a connection and cancel the session, a message half committed, when the client
hangs up.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from aiosmtpd.smtp import SMTP
from typing_extensions import override

from mail.errors import Reply
from relay import replies
from relay.wire.timers import Pace, Timer, Timers
from relay.wire.tunnel import Tunnel

# RFC 4954, 4: "the maximum length of ... AUTH command lines and responses is 12288 octets"; no other line is as long.
MAX_LINE: Final = 12_288
# Above this much unread input the transport is paused, above this much unsent output the session is.
_MAX_BUFFER: Final = 65_536
# How long a peer that still talks has to read our last words before the connection is cut.
LINGER_SECONDS: Final = 2.0


class Goodbye(Exception):  # noqa: N818 - an ending, not an error
    """The session ends; says why, for the log, and carries the last reply where there is one."""

    def __init__(self, why: str, reply: Reply | None = None) -> None:
        self.why = why
        self.reply = reply
        super().__init__(why)


class LineTooLong(Exception):  # noqa: N818 - a fact about a line
    """A line was longer than any may be; it has been skipped to its end."""


class Connection(SMTP):
    """The wire under a session.

    Args:
        loop: the event loop.
        timers: how long it waits for the peer.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        # Not SMTP's own: it looks itself up for 0.26 ms a connection, for hooks and a reader that are not used here.
        self.loop = loop
        self._timers = timers
        self._input = bytearray()
        self._output = bytearray()
        self._tunnel: Tunnel | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._limit: Timer = timers.command
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._pace: Pace | None = None
        self._overlong = False
        self._writable = True
        self._reading = True
        self._ended = False
        self._finished = False
        self.octets_in = 0
        self.tls_fault: str | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=_MAX_BUFFER)

    @override
    def data_received(self, data: bytes) -> None:
        if self._finished:
            return
        self.octets_in += len(data)
        self._input += data if self._tunnel is None else self._through_tunnel(self._tunnel, data)
        if self._reading and len(self._input) > _MAX_BUFFER:
            self._reading = False
            self.transport.pause_reading()
        self.heard()

    def heard(self) -> None:
        """Take note of input that has come."""
        self._wake()

    @override
    def eof_received(self) -> bool:
        """Note that nothing more will come; a peer may close its side and still wait for our reply."""
        self._ended = True
        self._wake()
        return not self._finished

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._writable = True
        self._wake()
        self._disarm()

    @override
    def pause_writing(self) -> None:
        self._writable = False

    @override
    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def tell(self, line: str | bytes) -> None:
        """Send a line with the next flush."""
        self._output += line.encode("ascii", "backslashreplace") if isinstance(line, str) else line
        self._output += b"\r\n"
        if len(self._output) > _MAX_BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand all replies to the transport at once (RFC 2920, section 3.2)."""
        if not self._output or self.transport.is_closing():
            return
        data = bytes(self._output)
        self._output.clear()
        if self._tunnel is not None:
            self._tunnel.send(data)
            data = self._tunnel.outgoing()
        self.transport.write(data)

    def flush_soon(self) -> None:
        """Flush when all sessions have obeyed what has come by now.

        Writes in a row wake sleeping peers once, not each by itself between two commands: a third less CPU per message
        with sixteen sessions.
        """
        if self._output:
            self.loop.call_soon(self.flush)

    @property
    def line_timer(self) -> Timer:
        """How long the next line may take."""
        return self._timers.command

    def take_line(self) -> bytes | None:
        """Give the next line without its CRLF, or None as long as it has not come to its end.

        Raises:
            LineTooLong: it was; the input stands behind it.
        """
        end = self._input.find(b"\r\n")
        if end < 0:
            if len(self._input) > MAX_LINE:
                self._overlong = True
                # The last octet may be the CR of the line's end.
                del self._input[:-1]
            return None
        line = bytes(self._input[:end])
        del self._input[: end + 2]
        if self._overlong or end > MAX_LINE:
            self._overlong = False
            raise LineTooLong
        self._pace = None
        return line

    async def read_line(self, timer: Timer | None = None) -> bytes:
        """Wait for the next line and give it without its CRLF.

        Args:
            timer: how long it may take from now, octet by octet or not; by default as the state of the session asks.

        Raises:
            LineTooLong: it was; the input stands behind it.
            Goodbye: the peer is gone, too slow or told to leave.
        """
        self.expect(timer or self.line_timer)
        while not self._writable or (line := self.take_line()) is None:
            await self._more()
        return line

    async def read_piece(self, most: int | None = None, timer: Timer | None = None) -> bytes:
        """Give what came of a message, at least one octet.

        Args:
            most: how many octets it may be; by default as many as there are.
            timer: the longest silence before it.

        Raises:
            Goodbye: the peer is gone, silent, slower than a message may be, or told to leave.
        """
        began = self.loop.time() if not self._input else None
        while not self._input:
            self.expect(timer or self._timers.data)
            await self._more()
        piece = bytes(self._input[:most])
        del self._input[:most]
        pace = self._pace = self._pace or Pace(self._timers.rate, self._timers.window_seconds)
        if not pace.keeps(self.loop.time() - began if began is not None else 0.0, len(piece)):
            raise Goodbye("too slow", replies.TOO_SLOW)
        return piece

    def unread(self, rest: bytes) -> None:
        """Put back what was read too much."""
        self._input[:0] = rest

    @property
    def unread_input(self) -> bool:
        """Whether something of the peer waits to be read."""
        return bool(self._input)

    @property
    def gone(self) -> bool:
        """Whether nothing more will come from the peer."""
        return self._ended

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Take all that comes from now on for TLS."""
        self.flush()
        self._tunnel = Tunnel(context)

    async def tls_established(self) -> dict[str, str]:
        """Wait for the handshake; give version and cipher.

        Raises:
            Goodbye: there was no agreement, or the peer went away.
        """
        assert self._tunnel  # noqa: S101 - begin_tls came before
        self.expect(self._timers.handshake)
        while not self._tunnel.established:
            try:
                await self._more()
            except Goodbye as end:
                raise Goodbye("no TLS" if self.tls_fault else end.why) from None
        return self._tunnel.facts

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Names in the verified certificate of the client; none without one."""
        return self._tunnel.certificate_names if self._tunnel else ()

    def finish(self) -> None:
        """Send what is due and close; what the peer still says is dropped, lest a reset destroy our last words."""
        if self._tunnel is not None and not self._tunnel.established:
            self._output.clear()
        self.flush()
        self._finished = True
        self._input.clear()
        if self.transport.is_closing():
            return
        if self._ended:
            self.transport.close()
        else:
            self._bid_farewell()
        self._rearm(LINGER_SECONDS, self.transport.abort)

    def interrupt(self, end: Exception) -> None:
        """Let the wait for the peer end so, if there is one."""
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(end)

    @property
    def waiting(self) -> bool:
        """Whether the session waits for its peer, and has not been woken."""
        return self._waiter is not None and not self._waiter.done()

    def expect(self, timer: Timer) -> None:
        """Give the peer so long from now on for what it is to do next."""
        self._limit, self._deadline = timer, self.loop.time() + timer.seconds

    async def _more(self) -> None:
        """Give the peer what it is due and wait for it: for input, for room to write, for its end."""
        self.flush_soon()
        if self._ended:
            raise Goodbye("gone")
        if not self._reading and len(self._input) <= _MAX_BUFFER:
            self._reading = True
            self.transport.resume_reading()
        now = self.loop.time()
        if self._deadline <= now:
            raise Goodbye(self._limit.why, self._limit.reply)
        # One alarm for a session, not one for a command: an early one looks and goes on.
        if self._alarm is None or self._alarm.when() > self._deadline:
            self._rearm(self._deadline - now, self._check_time)
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _bid_farewell(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()
            self.transport.write(self._tunnel.outgoing())
        if not self._reading:
            self.transport.resume_reading()
        self.transport.write_eof()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_time(self) -> None:
        """End a wait that was too long; between waits, the next one sets the alarm again."""
        self._alarm = None
        left = self._deadline - self.loop.time()
        if self._waiter is None:
            return
        if left > 0:
            self._rearm(left, self._check_time)
        else:
            self.interrupt(Goodbye(self._limit.why, self._limit.reply))

    def _rearm(self, seconds: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._alarm = self.loop.call_later(seconds, action)

    def _disarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm = None

    def _through_tunnel(self, tunnel: Tunnel, data: bytes) -> bytes:
        plain = b""
        try:
            plain = tunnel.receive(data)
        except ssl.SSLError as error:
            self.tls_fault = error.reason or type(error).__name__
            self._ended = True
        if answer := tunnel.outgoing():
            self.transport.write(answer)
        self._ended = self._ended or tunnel.closed
        return plain
