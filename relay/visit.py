"""What a session knows: its peer, its transaction, and what it leans on."""

import asyncio
import base64
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import Envelope, Session

from backing.metrics import RelayMetrics
from mail.accounts import Credential
from relay.accept import Intake
from relay.auth import Doorkeeper
from relay.commands import MailOptions
from relay.settings import RelaySettings
from relay.tls import Certificates

if TYPE_CHECKING:
    from mail.job import Recipient

# 80 bits: 16 letters in base32, and no two sessions ever share one.
_ID_OCTETS: Final = 10


@dataclass(frozen=True, slots=True)
class House:
    """What every session leans on."""

    settings: RelaySettings
    certificates: Certificates
    doorkeeper: Doorkeeper
    intake: Intake
    metrics: RelayMetrics


class Visit(Session):
    """What is known of a peer and its stay.

    Attributes:
        id: correlation id: in every log line, the Received header, the job and every reply that says "later".
        errors: error replies since the last accepted message.
    """

    peer: str

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        super().__init__(loop)
        self.id = base64.b32encode(secrets.token_bytes(_ID_OCTETS)).decode().lower()
        self.peer = peer
        self.credential: Credential | None = None
        self.failed_sign_ins = 0
        self.errors = 0
        self.accepted = 0
        self.refused = 0
        self.deferred = 0

    @property
    def signed_in(self) -> Credential:
        """The credential of a session that has signed in."""
        assert self.credential  # noqa: S101 - order.NEEDS asks for AUTH before mail
        return self.credential


class Draft(Envelope):
    """A transaction: what MAIL and RCPT said; the dictionary has each recipient once."""

    def __init__(self) -> None:
        super().__init__()
        self.options = MailOptions()
        self.recipients: dict[str, Recipient] = {}
