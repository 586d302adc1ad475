"""Opening a connection to a provider: greeting, TLS and AUTH as configured, up to where MAIL may follow."""

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mail.delivery import Outcome
from mail.endpoints import Network
from worker.guard import PROVIDERS, Forbidden, addresses
from worker.providers.base import Answer, Failed
from worker.providers.reach import place, tls_words
from worker.providers.smtp import outcomes
from worker.providers.smtp.connection import Connection
from worker.providers.smtp.outcomes import Step
from worker.providers.smtp.sasl import sign_in
from worker.providers.smtp.wire import Wire
from worker.providers.trail import Stage, Trail


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
        allowed: networks that it may be in beside the public internet.
    """

    host: str
    port: int
    hello: str
    implicit: bool
    starttls: bool | None
    context: ssl.SSLContext
    pin: bytes | None
    login: tuple[str, str] | None = field(repr=False)
    timeout: float
    allowed: Sequence[Network] = ()


async def connect(target: Target, trail: Trail | None = None) -> Connection:
    """Open a connection up to where MAIL may follow.

    Args:
        target: whom to connect to.
        trail: where the steps are noted, if anybody wants to know.

    Raises:
        Failed: the peer refuses us.
        OSError: it cannot be reached, broke off or talked nonsense; an `SSLError` is one.
    """
    trail = trail or Trail()
    with trail.step(Stage.CONNECT) as said:
        async with asyncio.timeout(target.timeout):
            connection = Connection(await _reach(target))
        said.append(f"connected to {place(connection.told('peername'))}")
    try:
        await _enter(connection, target, trail)
    except BaseException:
        connection.abort()
        raise
    return connection


async def _reach(target: Target) -> Wire:
    """Connect to the first address that answers, of those that were looked at: the name is not asked for again."""
    try:
        several = await addresses(target.host, target.port, target.allowed, PROVIDERS)
    except Forbidden as fault:
        raise Failed(_misconfigured(str(fault))) from fault
    last: OSError = ConnectionError("the name has no address")
    for address in several:
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                partial(Wire, target.timeout), address, target.port
            )
        except OSError as fault:
            last = fault
        else:
            return wire
    raise last


async def _enter(connection: Connection, target: Target, trail: Trail) -> None:
    if target.implicit:
        await _start_tls(connection, target, trail)
    with trail.step(Stage.GREETING) as said:
        greeting = await connection.reply()
        if greeting.code != 220:  # noqa: PLR2004 - RFC 5321, 4.3.2
            raise Failed(outcomes.banner(greeting))
        said.append(greeting.text)
        await _hello(connection, target)
    if not target.implicit:
        await _secure(connection, target, trail)
    if target.login:
        with trail.step(Stage.SIGN_IN) as said:
            said.append((await sign_in(connection, *target.login)).text)


async def _hello(connection: Connection, target: Target) -> None:
    reply = await connection.command(f"EHLO {target.hello}".encode())
    if not reply.good:
        raise Failed(outcomes.banner(reply))
    connection.extensions = extensions(reply.text)


async def _secure(connection: Connection, target: Target, trail: Trail) -> None:
    if target.starttls or (target.starttls is None and connection.offers("starttls")):
        await _start_tls(connection, target, trail)


async def _start_tls(connection: Connection, target: Target, trail: Trail) -> None:
    with trail.step(Stage.TLS) as said:
        if not target.implicit:
            await _ask_for_tls(connection)
        await connection.start_tls(target.context, target.host)
        said.extend(tls_words(connection.told("ssl_object")))
        if not target.implicit:
            await _hello(connection, target)
        if target.pin and (connection.certificate is None or key_digest(connection.certificate) != target.pin):
            raise Failed(_misconfigured("the peer's public key is not the pinned one"))


async def _ask_for_tls(connection: Connection) -> None:
    if not connection.offers("starttls"):
        raise Failed(_misconfigured("the peer does not offer STARTTLS, which is demanded"))
    reply = await connection.command(b"STARTTLS")
    if reply.code != 220:  # noqa: PLR2004 - RFC 3207, section 4
        raise Failed(outcomes.banner(reply))


def extensions(text: str) -> dict[str, str]:
    """What a peer offers in its reply to EHLO, in lower case, with what follows each name (RFC 5321, 4.1.1.1)."""
    offered: dict[str, str] = {}
    for line in text.split("\n")[1:]:
        # Old servers write AUTH=LOGIN, some beside AUTH LOGIN.
        name, _, words = line.strip().replace("=", " ", 1 if line[:5].upper() == "AUTH=" else 0).partition(" ")
        name = name.lower()
        offered[name] = f"{offered[name]} {words}" if name in offered else words
    return offered


def key_digest(certificate: bytes) -> bytes:
    """Digest a DER certificate's public key as it is pinned: SHA-256 of its SPKI, which renewals may keep (TLS-015)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _misconfigured(text: str) -> Answer:
    return Answer(Outcome.MISCONFIGURED, None, None, f"{Step.CONNECT}: {text}")
