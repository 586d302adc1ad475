"""One SMTP connection to a provider: opened with TLS and AUTH as configured, ready for MAIL."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPConnectResponseError,
    SMTPException,
    SMTPHeloError,
    SMTPServerDisconnected,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mail.delivery import Outcome
from worker.providers import outcomes
from worker.providers.base import Answer
from worker.providers.outcomes import Failed, PeerReply, Step

# Up to here a message goes out in one piece; a larger one as fast as the peer reads, so that a connection that breaks
# in the middle is known to have broken before the final dot.
ONE_PIECE: Final = 65_536
_FLUSH_POLL_SECONDS: Final = 0.005
_CHECK_TIMEOUT_SECONDS: Final = 3.0
# Over TLS all are as safe; the ones that more servers get right come first.
_AUTH_METHODS: Final = ("plain", "login", "cram-md5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to connect to, and how.

    Attributes:
        hello: our name in EHLO.
        implicit: TLS from the start.
        starttls: True demands STARTTLS, None takes it when offered, False leaves it.
        context: what TLS verifies the peer with.
        pin: SHA-256 of the peer's public key (SPKI), or None.
        login: user name and password, or None.
        timeout: seconds for one reply.
    """

    host: str
    port: int
    hello: str
    implicit: bool
    starttls: bool | None
    context: ssl.SSLContext
    pin: bytes | None
    login: tuple[str, str] | None
    timeout: float


class Connection:
    """An SMTP connection that is ready for MAIL.

    Below MAIL, aiosmtplib's own commands are not used: they parse and requote addresses, and rewrite line ends.
    """

    def __init__(self, client: SMTP) -> None:
        self._client = client
        self.messages = 0
        self.idle_since = 0.0

    @property
    def alive(self) -> bool:
        """Whether neither side has closed it, as far as we were told."""
        return self._client.is_connected

    def offers(self, extension: str) -> bool:
        """Whether the peer announced an extension."""
        return self._client.supports_extension(extension)

    @property
    def max_size(self) -> int:
        """The largest message the peer takes, 0 for any (RFC 1870)."""
        size = self._client.esmtp_extensions.get("size", "")
        return int(size) if size.isdecimal() else 0

    async def command(self, *words: bytes) -> PeerReply:
        """Send a command and wait for its reply."""
        reply = await self._client.execute_command(*words)
        return PeerReply(reply.code, reply.message)

    async def transfer(self, body: bytes, sent: Callable[[], None]) -> PeerReply:
        """Send a message after 354, dot-stuffed and otherwise as it is; calls `sent` when the final dot is out."""
        protocol = self._client.protocol
        if protocol is None:
            raise SMTPServerDisconnected("closed before the message")
        text = stuffed(body)
        if len(text) > ONE_PIECE:
            for start in range(0, len(text), ONE_PIECE):
                protocol.write(text[start : start + ONE_PIECE])
                if not await self._flushed():
                    await protocol.read_response(_CHECK_TIMEOUT_SECONDS)  # raises what broke it
            text = b""
        protocol.write(text + b".\r\n")
        sent()
        # Read without letting go in between: the protocol drops what comes while nobody waits. The attempt's deadline
        # ends the wait; RFC 5321, 4.5.3.2.6, gives the peer ten minutes, longer than any lease.
        reply = await protocol.read_response()
        return PeerReply(reply.code, reply.message)

    async def check(self) -> bool:
        """Whether the peer still answers."""
        try:
            return (await self._client.noop(timeout=_CHECK_TIMEOUT_SECONDS)).code == 250  # noqa: PLR2004 - RFC 5321
        except (SMTPException, OSError):
            return False

    def close(self) -> None:
        """Say QUIT and hang up without waiting for the answer."""
        if self._client.protocol is not None and self._client.is_connected:
            self._client.protocol.write(b"QUIT\r\n")
        self.abort()

    def abort(self) -> None:
        """Hang up."""
        self._client.close()

    async def _flushed(self) -> bool:
        # uvloop's transports are no subclasses of asyncio's.
        transport = cast("asyncio.WriteTransport | None", self._client.transport)
        if transport is None:
            return False
        while self.alive and transport.get_write_buffer_size():  # noqa: ASYNC110 - aiosmtplib keeps flow control private
            await asyncio.sleep(_FLUSH_POLL_SECONDS)
        return self.alive


def stuffed(body: bytes) -> bytes:
    """Make a message transparent (RFC 5321, section 4.5.2) and end its last line, if that has no end."""
    text = body.replace(b"\r\n.", b"\r\n..")
    if text.startswith(b"."):
        text = b"." + text
    return text if text.endswith(b"\r\n") or not text else text + b"\r\n"


def key_digest(certificate: bytes) -> bytes:
    """Digest a DER certificate's public key as it is pinned: SHA-256 of its SPKI, which renewals may keep (TLS-015)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


async def connect(target: Target) -> Connection:
    """Open a connection up to where MAIL may follow.

    Raises:
        Failed: the peer refuses us.
        OSError: it cannot be reached, broke off or talked nonsense; an `SSLError` is one.
    """
    client = SMTP(
        hostname=target.host,
        port=target.port,
        local_hostname=target.hello,
        timeout=target.timeout,
        use_tls=target.implicit,
        start_tls=False,
        tls_context=target.context,
    )
    try:
        await client.connect()
        await client.ehlo()
        await _secure(client, target)
        if target.login:
            await _sign_in(client, target.login)
    except SMTPAuthenticationError as refused:
        client.close()
        raise Failed(outcomes.auth(PeerReply(refused.code, refused.message))) from refused
    except (SMTPConnectResponseError, SMTPHeloError) as refused:
        client.close()
        raise Failed(outcomes.banner(PeerReply(refused.code, refused.message))) from refused
    except BaseException:
        client.close()
        raise
    return Connection(client)


async def _secure(client: SMTP, target: Target) -> None:
    if target.starttls or (target.starttls is None and client.supports_extension("starttls")):
        if not client.supports_extension("starttls"):
            raise Failed(_misconfigured(f"{Step.CONNECT}: the peer does not offer STARTTLS, which is demanded"))
        await client.starttls()
        await client.ehlo()
    if target.pin:
        certificate = client.get_transport_info("ssl_object").getpeercert(binary_form=True)
        if key_digest(certificate) != target.pin:
            raise Failed(_misconfigured(f"{Step.CONNECT}: the peer's public key is not the pinned one"))


async def _sign_in(client: SMTP, login: tuple[str, str]) -> None:
    method = next((method for method in _AUTH_METHODS if method in client.server_auth_methods), None)
    if method is None:
        raise Failed(_misconfigured(f"{Step.AUTH}: the peer offers none of {', '.join(_AUTH_METHODS)}"))
    ways = {"plain": client.auth_plain, "login": client.auth_login, "cram-md5": client.auth_crammd5}
    await ways[method](*login)


def _misconfigured(text: str) -> Answer:
    return Answer(Outcome.MISCONFIGURED, None, None, text)
