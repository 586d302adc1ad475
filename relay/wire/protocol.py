"""One connection: octets from the transport, through TLS, to whoever waits for them, and replies back.

Takes the place of aiosmtpd's protocol, which runs TLS at 287 KiB a connection, and cancels the session, a message half
committed, when the client hangs up.
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, cast

from typing_extensions import override

from relay.wire.outbox import Outbox
from relay.wire.timers import Timers
from relay.wire.tunnel import Tunnel
from relay.wire.waits import MAX_BUFFER, Goodbye, Waits

if TYPE_CHECKING:
    from collections.abc import Callable
# How long a peer that still talks has to read our last words before the connection is cut.
LINGER_SECONDS: Final = 2.0


class Connection(Waits):
    """The wire under a session: its transport and its TLS.

    Args:
        loop: the event loop.
        timers: how long it waits for the peer.
        outbox: when what is to be said is said.

    Attributes:
        octets_in: what has come so far.
        tls_fault: why there is no TLS, or no more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers, outbox: Outbox) -> None:
        super().__init__(loop, timers, outbox)
        # What octets go through before they mean anything, and what they go through on their way out.
        self._inlet: Callable[[bytes], bytes] | None = None
        self._tunnel: Tunnel | None = None
        self._finished = False
        self.octets_in = 0
        self.tls_fault: str | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=MAX_BUFFER)

    @override
    def data_received(self, data: bytes) -> None:
        if self._finished:
            return
        self.octets_in += len(data)
        if self._inlet is not None:
            data = self._inlet(data)
        if self._input:
            self.put(data)
        else:
            self._input = data
        if self._reading and len(self._input) > MAX_BUFFER:
            self._reading = False
            self.transport.pause_reading()
        self.heard()

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
        # Nothing here may keep itself in memory.
        self._inlet = self._outlet = None

    @override
    def pause_writing(self) -> None:
        self._writable = False

    @override
    def resume_writing(self) -> None:
        self._writable = True
        self._wake()

    def begin_tls(self, context: ssl.SSLContext) -> None:
        """Take all that comes from now on for TLS."""
        self.flush()
        self._tunnel = Tunnel(context)
        self._inlet, self._outlet = self._through_tunnel, self._into_tunnel

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
        self._input, self._at = b"", 0
        if self.transport.is_closing():
            return
        if self._ended:
            self.transport.close()
        else:
            self._bid_farewell()
        self._rearm(LINGER_SECONDS, self.transport.abort)

    def _bid_farewell(self) -> None:
        if self._tunnel is not None:
            self._tunnel.close()
            self.transport.write(self._tunnel.outgoing())
        if not self._reading:
            self.transport.resume_reading()
        self.transport.write_eof()

    def _through_tunnel(self, data: bytes) -> bytes:
        tunnel, plain = self._tunnel, b""
        assert tunnel  # noqa: S101 - begin_tls has dug it
        try:
            plain = tunnel.receive(data)
        except ssl.SSLError as error:
            self.tls_fault = error.reason or type(error).__name__
            self._ended = True
        if answer := tunnel.outgoing():
            self.transport.write(answer)
        self._ended = self._ended or tunnel.closed
        return plain

    def _into_tunnel(self, data: bytes) -> bytes:
        tunnel = self._tunnel
        assert tunnel  # noqa: S101 - as above
        try:
            tunnel.send(data)
        except ssl.SSLError as error:
            # Nothing more can be said to this peer.
            self.tls_fault = error.reason or type(error).__name__
            self.transport.abort()
            return b""
        return tunnel.outgoing()
