"""A provider's SMTP endpoint: the message as it is, by option under a header that its events repeat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mail.delivery import RecipientResult
from mail.encoding import seven_bit
from mail.splice import with_fields_before, without
from worker.providers.base import BadConfig, Envelope, Provider, Setup
from worker.providers.signing import DkimConfig
from worker.providers.smtp import SmtpProvider

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

    async def provider(self, setup: Setup) -> Provider:
        """Build the provider; connects to nothing yet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = dict(self.config)
        if "dkim" in config:
            raise BadConfig("smtp.dkim: dkim stands beside smtp, not in it")
        if self.dkim:
            config["dkim"] = {**self.dkim.model_dump(), "leave_out": self.dkim.leave_out | self.rewritten}
        smtp = await SmtpProvider.create(replace(setup, config=config), recode=seven_bit)
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

    async def close(self) -> None:
        """Close the kept connections."""
        await self._smtp.close()
