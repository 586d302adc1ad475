"""One connection, brought as far as an encrypted EHLO, with the time each phase took."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import aiosmtplib

from client.dialogue import Say, Wire
from client.errors import ClientError, TlsError, UntrustedError
from client.explain import CONNECTING, EHLO, GREETING, HANDSHAKE, Server, Step, explain
from client.tls import TimedHandshake, Trust, untrusted

PARTING_SECONDS = 5.0


class Connection:
    """A connection that is open for commands after `open`."""

    def __init__(self, server: Server, trust: Trust, context: ssl.SSLContext, say: Say) -> None:
        self.server = server
        self.spent: dict[str, float] = {}
        self._trust = trust
        self._context = context
        self._say = say
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """The SMTP commands of the open connection."""
        if self._wire is None:
            raise RuntimeError("the connection was not opened")
        return self._wire

    @property
    def usable(self) -> bool:
        """Whether another command can be sent."""
        return self._wire is not None and self._wire.is_connected

    @contextmanager
    def during(self, step: Step) -> Iterator[None]:
        """Time what is done and explain what goes wrong meanwhile."""
        started = time.monotonic()
        try:
            yield
        except (OSError, aiosmtplib.SMTPException, UnicodeError) as error:
            raise explain(error, step, self.server) from error
        finally:
            self.spent[step.phase] = self.spent.get(step.phase, 0.0) + time.monotonic() - started

    async def open(self) -> None:
        """Connect, encrypt, check the certificate, say EHLO."""
        try:
            await self._encrypted()
        except UntrustedError as error:
            raise untrusted(error, str(self.server), await self._presented()) from error
        await self._ehlo()

    async def close(self) -> None:
        """Say QUIT if somebody still listens."""
        if self._wire is None:
            return
        with suppress(OSError, aiosmtplib.SMTPException):
            await self._wire.quit(timeout=min(self.server.timeout, PARTING_SECONDS))
        self.abort()

    def abort(self) -> None:
        """Close without a word."""
        if self._wire is not None:
            self._wire.close()

    async def _encrypted(self) -> None:
        server = self.server
        implicit = server.tls == "implicit"
        with self.during(CONNECTING):
            async with asyncio.timeout(server.timeout):
                connected = await _dial(server)
        self._say(f"-- connected to {server}")
        self._wire = wire = Wire(
            hostname=server.name,
            sock=connected,
            local_hostname=_own_name(connected),
            timeout=server.timeout,
            use_tls=implicit,
            start_tls=False,
            tls_context=self._context,
        )
        wire.say = self._say
        with self.during(HANDSHAKE if implicit else GREETING):
            wire.tell(await wire.connect())
        if server.tls == "starttls":
            await self._start_tls()
        self._check_encryption(wire)

    async def _start_tls(self) -> None:
        await self._ehlo()
        if not self.wire.supports_extension("starttls"):
            raise TlsError(
                f"TLS: {self.server} does not offer STARTTLS.\n"
                "What to do: check the port; --tls implicit is TLS from the first byte, --tls none sends in the clear."
            )
        self._say("C: STARTTLS")
        with self.during(HANDSHAKE):
            self.wire.tell(await self.wire.starttls())

    def _check_encryption(self, wire: Wire) -> None:
        tls = wire.get_transport_info("ssl_object")
        if not isinstance(tls, TimedHandshake):
            return
        self._say(f"-- encrypted: {tls.version()} {(tls.cipher() or ('',))[0]}")
        if self.server.tls == "implicit":  # opened, encrypted and greeted in one step: take it apart
            self.spent["connect"] += self.spent["tls"] - tls.seconds
            self.spent["tls"] = tls.seconds
        certificate = tls.getpeercert(binary_form=True)
        self._trust.check_pin(certificate or b"", str(self.server))

    async def _ehlo(self) -> None:
        with self.during(EHLO):
            await self.wire.ehlo()

    async def _presented(self) -> bytes | None:
        """Look at the certificate over a second connection: a failed handshake does not show it. Sends nothing else."""
        looking = Trust(insecure=True)
        second = Connection(self.server, looking, looking.context(), lambda _: None)
        with suppress(ClientError):
            await second._encrypted()
        if not second.usable:
            return None
        certificate: bytes | None = second.wire.get_transport_info("ssl_object").getpeercert(binary_form=True)
        await second.close()
        return certificate


async def _dial(server: Server) -> socket.socket:
    """Try the host's addresses in the order the system gives them (RFC 5321 section 5.1)."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    failures: list[OSError] = []
    for family, kind, protocol, _, address in found:
        connecting = socket.socket(family, kind, protocol)
        connecting.setblocking(False)
        try:
            await loop.sock_connect(connecting, address)
        except OSError as error:
            connecting.close()
            failures.append(error)
        except asyncio.CancelledError:
            connecting.close()
            raise
        else:
            return connecting
    raise failures[0]


def _own_name(connected: socket.socket) -> str:
    """Introduce a client without a name of its own by its address (RFC 5321 section 4.1.3)."""
    address = str(connected.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
