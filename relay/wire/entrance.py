"""Who is there: the peer of a connection, or the client that a load balancer speaks for (PROXY protocol)."""

import asyncio
from abc import abstractmethod
from typing import Final

from typing_extensions import override

from relay.wire.outbox import Outbox
from relay.wire.protocol import Connection
from relay.wire.proxy import Malformed, TrustedNetworks, parse
from relay.wire.timers import Timers

_MAPPED: Final = "::ffff:"


class Entrance(Connection):
    """A connection that begins with a PROXY header where it comes from a load balancer, and never elsewhere.

    Args:
        loop: the event loop.
        timers: how long it waits.
        outbox: when what is to be said is said.
        balancers: where load balancers are.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timers: Timers, outbox: Outbox, balancers: TrustedNetworks
    ) -> None:
        super().__init__(loop, timers, outbox)
        self._balancers = balancers
        self._balancer = ""
        # What came of a header; None where none is awaited.
        self._preamble: bytes | None = None

    @abstractmethod
    def enter(self, peer: str, balancer: str | None) -> None:
        """Begin: this is the client, and this the address of the load balancer that said so."""

    @abstractmethod
    def turned_away(self, result: str, reason: str) -> None:
        """Note that there is no client: a probe, or a header that is missing, late or broken."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or ("unknown",)
        address = str(peer[0]).partition("%")[0]
        if address.startswith(_MAPPED) and "." in address:
            address = address.removeprefix(_MAPPED)
        if address not in self._balancers:
            self.enter(address, None)
            return
        self._balancer = address
        self._preamble = b""
        self._inlet = self._through_header
        self._rearm(self._timers.header, self._header_late)

    @override
    def eof_received(self) -> bool:
        if self._preamble is not None:
            self._turn_away("closed before the PROXY header")
        return super().eof_received()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if self._preamble is not None:
            self._turn_away("closed before the PROXY header")
        super().connection_lost(error)

    def _through_header(self, data: bytes) -> bytes:
        """Look for the header; give what follows it, and means something already."""
        self._preamble = octets = (self._preamble or b"") + data
        try:
            header = parse(octets)
        except Malformed as fault:
            self._turn_away(str(fault))
            return b""
        if header is None:
            return b""
        self._preamble = None
        if header.source is None:
            self._close("probe", "health check")
            return b""
        self._disarm()
        # The header is not of the client.
        self.octets_in = len(octets) - header.size
        self._inlet = None
        self.enter(header.source.address, self._balancer)
        return self._enter_with(octets[header.size :])

    def _enter_with(self, octets: bytes) -> bytes:
        """What octets behind the header mean, which may be the first of TLS."""
        if not octets or self.transport.is_closing():
            return b""
        return self._inlet(octets) if self._inlet else octets

    def _header_late(self) -> None:
        self._turn_away("PROXY header too late")

    def _turn_away(self, reason: str) -> None:
        result = "proxy_failed" if self._preamble else "probe"
        self._preamble = None
        self._close(result, reason)

    def _close(self, result: str, reason: str) -> None:
        """Close without a word: who is not known to be a client is told nothing."""
        self._disarm()
        self._finished = True
        self.turned_away(result, reason)
        self.transport.close()
