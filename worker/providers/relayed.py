"""A provider's SMTP endpoint: the message as it is, by option under a header that its events repeat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from backing.provider_configs import DkimConfig, refuse_inner_signing
from mail.delivery import RecipientResult
from mail.encoding import seven_bit
from mail.endpoints import Network
from mail.splice import with_fields_before, without
from worker.providers.base import Envelope, Provider, Setup
from worker.providers.smtp import SmtpProvider
from worker.providers.trail import Trail

Header = Callable[[Envelope], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """An SMTP endpoint.

    Attributes:
        config: what `SmtpConfig` is to hold.
        dkim: how messages are signed.
        steering: header fields that the provider obeys, as for `mail.splice.without`; a client's own are cut out, since
            clients of one provider may be strangers to each other.
        max_recipients, max_octets: of a message.
        evidence_seconds: as in `Capabilities`; None where no header names the mail in events.
        header: gives header lines to put before the message, or nothing.
        rewritten: small letters; fields that the provider writes anew.
    """

    config: Mapping[str, Any] = field(repr=False)
    dkim: DkimConfig | None
    steering: tuple[str, ...]
    max_recipients: int
    max_octets: int
    evidence_seconds: float | None
    header: Header
    rewritten: frozenset[str] = frozenset()

    async def provider(self, setup: Setup, allowed: Sequence[Network]) -> Provider:
        """Build the provider; connects to nothing yet.

        Args:
            setup: its row.
            allowed: networks that it may be in beside the public internet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = dict(self.config)
        refuse_inner_signing(config)
        if self.dkim:
            config["dkim"] = {**self.dkim.model_dump(), "leave_out": self.dkim.leave_out | self.rewritten}
        smtp = await SmtpProvider.create(replace(setup, config=config), seven_bit, allowed)
        return RelayProvider(smtp, self)


class RelayProvider:
    """Sends through an inner SMTP provider."""

    def __init__(self, smtp: Provider, relay: Relay) -> None:
        self._smtp = smtp
        self._relay = relay
        self.capabilities: Final = replace(
            smtp.capabilities,
            max_recipients=relay.max_recipients,
            max_octets=relay.max_octets,
            rewrites_message_id="message-id" in relay.rewritten,
            evidence_seconds=relay.evidence_seconds,
        )

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions."""
        message = with_fields_before(without(body, self._relay.steering), self._relay.header(envelope))
        return await self._smtp.send(envelope, message, deadline)

    async def check(self, trail: Trail) -> None:
        """Have the inner provider checked."""
        await self._smtp.check(trail)

    async def close(self) -> None:
        """Close the kept connections."""
        await self._smtp.close()
