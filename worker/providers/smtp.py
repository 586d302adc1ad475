"""Any SMTP server as a provider: envelope-driven, octet for octet, with a result for each recipient."""

import asyncio
import socket
import ssl
from typing import Literal

from aiosmtplib import SMTPException
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mail.delivery import RecipientResult
from worker.providers.base import BadConfig, Envelope, Setup
from worker.providers.connection import Target, connect
from worker.providers.connections import Connections
from worker.providers.outcomes import Failed, Step
from worker.providers.transaction import Attempt, Stale

_FAULTS = (SMTPException, OSError, ValueError)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SmtpConfig(BaseModel):
    """What `provider.config` holds for this kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["none", "starttls", "implicit", "opportunistic"] = "starttls"
    username: str | None = None
    ca: str | None = Field(default=None, description="PEM of the only authorities to trust.")
    pin: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the peer's SPKI.")
    hello: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$", description="Our name in EHLO.")
    timeout: float = Field(default=60.0, gt=0, le=300, description="Seconds for one reply.")
    max_connections: int = Field(default=20, ge=1, le=1000)
    max_idle_seconds: float = Field(default=30.0, gt=0, le=300)
    max_messages: int = Field(default=100, ge=1, le=10_000, description="Messages that one connection carries.")


class SmtpProvider:
    """Sends over kept connections."""

    def __init__(self, connections: Connections, *, verified_tls: bool) -> None:
        self._connections = connections
        self._verified_tls = verified_tls

    @classmethod
    async def create(cls, setup: Setup) -> "SmtpProvider":
        """Build the provider that a configuration describes; connects to nothing yet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = _read(setup)
        target = Target(
            host=config.host,
            port=config.port,
            hello=config.hello or socket.gethostname(),
            implicit=config.tls == "implicit",
            starttls={"starttls": True, "opportunistic": None}.get(config.tls, False),
            context=await asyncio.to_thread(_tls_context, config),
            pin=bytes.fromhex(config.pin) if config.pin else None,
            login=(config.username, setup.secret) if config.username and setup.secret else None,
            timeout=config.timeout,
        )
        return cls(
            Connections(lambda: connect(target), config.max_connections, config.max_idle_seconds, config.max_messages),
            verified_tls=config.tls in {"starttls", "implicit"},
        )

    @property
    def verified_tls(self) -> bool:
        """Whether a connection without TLS, or to somebody else, is impossible."""
        return self._verified_tls

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions."""
        attempt = Attempt(envelope, body)
        attempt.refuse_impossible()
        try:
            async with asyncio.timeout_at(deadline):
                await self._exchange(attempt)
        except Failed as failed:
            attempt.answer_rest(failed.answer)
        except _FAULTS as error:
            attempt.break_off(error)
        return [attempt.results[n] for n, _ in envelope.recipients]

    async def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    async def _exchange(self, attempt: Attempt) -> None:
        if not attempt.open:
            return
        try:
            async with self._connections.lent() as connection:
                await attempt.run(connection)
        except Stale:
            attempt.step = Step.CONNECT
            async with self._connections.lent(fresh=True) as connection:
                await attempt.run(connection)


def _read(setup: Setup) -> SmtpConfig:
    try:
        config = SmtpConfig.model_validate(setup.config)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise BadConfig("; ".join(lines)) from None
    if config.username and not setup.secret:
        raise BadConfig("username: it needs a password, and none is stored")
    if config.username and config.tls in {"none", "opportunistic"} and config.host not in _LOOPBACK:
        raise BadConfig(f"tls: {config.tls} would show the password; use starttls or implicit")
    if config.pin and config.tls not in {"starttls", "implicit"}:
        raise BadConfig("pin: it needs tls starttls or implicit")
    return config


def _tls_context(config: SmtpConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.ca)
    except ssl.SSLError as error:
        raise BadConfig(f"ca: {error}") from None
    if config.tls == "opportunistic":
        # RFC 7435: unauthenticated encryption is better than none, which is what this mode falls back to.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
