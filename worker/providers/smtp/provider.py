"""An SMTP server as a provider: envelope-driven, octet for octet, with a result for each recipient."""

import asyncio
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

from mail.delivery import RecipientResult
from mail.endpoints import Network
from worker.providers.base import Capabilities, Envelope, Failed, Setup
from worker.providers.reach import resolved
from worker.providers.secret import read_secret
from worker.providers.signing import Sign, signing, unsigned
from worker.providers.smtp import config as configuration
from worker.providers.smtp.attempt import Attempt, Recode, cannot_recode
from worker.providers.smtp.connections import Connections
from worker.providers.smtp.opening import Target, connect
from worker.providers.smtp.outcomes import Step
from worker.providers.smtp.transaction import Stale
from worker.providers.trail import Trail

_FAULTS: Final = (OSError, ValueError)


class SmtpProvider:
    """Sends over kept connections."""

    def __init__(
        self,
        connections: Connections,
        capabilities: Capabilities,
        recode: Recode = cannot_recode,
        sign: Sign = unsigned,
        target: Target | None = None,
    ) -> None:
        self._connections = connections
        self._recode = recode
        self._sign = sign
        self._target = target
        self.capabilities: Final = capabilities

    @classmethod
    async def create(
        cls, setup: Setup, recode: Recode = cannot_recode, allowed: Sequence[Network] = ()
    ) -> "SmtpProvider":
        """Build the provider that a configuration describes; connects to nothing yet.

        Args:
            setup: the configuration.
            recode: makes a message fit for a peer that cannot take it as it is.
            allowed: networks that the server may be in beside the public internet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = configuration.read(setup)
        password = read_secret(setup).login
        target = Target(
            host=config.host,
            port=config.port,
            hello=config.hello or socket.gethostname(),
            implicit=config.tls == "implicit",
            starttls={"starttls": True, "opportunistic": None}.get(config.tls, False),
            context=await asyncio.to_thread(configuration.tls_context, config),
            pin=bytes.fromhex(config.pin) if config.pin else None,
            login=(config.username, password) if config.username and password else None,
            timeout=config.timeout,
            allowed=allowed,
        )
        return cls(
            Connections(partial(connect, target), config.max_connections, config.max_idle_seconds, config.max_messages),
            # A connection without TLS, or to somebody else, is impossible; REQUIRETLS is asked of each peer.
            Capabilities(verified_tls=config.tls in {"starttls", "implicit"}, requiretls=True),
            recode,
            await signing(config.dkim, setup),
            target,
        )

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions."""
        attempt = Attempt(envelope, body, self._recode, self._sign)
        results = attempt.results
        attempt.refuse_impossible()
        try:
            async with asyncio.timeout_at(deadline):
                await self._exchange(attempt)
        except Failed as failed:
            results.settle_rest(failed.answer)
        except _FAULTS as error:
            results.break_off(error)
        return results.in_order

    async def check(self, trail: Trail) -> None:
        """Open a connection of its own up to where MAIL may follow, and leave."""
        if self._target is None:
            raise ValueError("this provider was built without somebody to connect to")
        await resolved(self._target.host, self._target.port, self._target.allowed, trail)
        connection = await connect(self._target, trail)
        try:
            await connection.command(b"RSET")
        finally:
            connection.close()

    async def close(self) -> None:
        """Close the kept connections."""
        self._connections.close()

    async def _exchange(self, attempt: Attempt) -> None:
        if not attempt.results.open:
            return
        try:
            async with self._connections.lent() as connection:
                await attempt.run(connection)
        except Stale:
            attempt.results.step = Step.CONNECT
            async with self._connections.lent(fresh=True) as connection:
                await attempt.run(connection)
