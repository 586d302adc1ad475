"""What a session knows: its peer, its transaction, and what it leans on."""

import asyncio
import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import structlog
from aiosmtpd.smtp import Envelope, Session

from backing.metrics import RelayMetrics
from backing.quotas import Quotas
from mail.accounts import Credential
from relay.certificates.tls import Certificates
from relay.intake.accept import Intake
from relay.policy.auth import Doorkeeper
from relay.policy.guard import Guard
from relay.policy.suppression import SuppressionLists
from relay.settings import RelaySettings
from relay.smtp.commands import NO_MAIL_OPTIONS
from relay.smtp.sasl import MECHANISMS, WITH_CERTIFICATE
from relay.transcript import Transcripts
from relay.wire.outbox import Outbox
from relay.wire.proxy import TrustedNetworks
from relay.wire.timers import Timers

if TYPE_CHECKING:
    from mail.job import Recipient
    from relay.intake.arrival import Arrival

# 80 bits: 16 letters in base32, and no two sessions ever share one.
_ID_OCTETS: Final = 10
# The least code of a reply that counts towards the end of a session.
ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings mean to a session, worked out once for all of them.

    Attributes:
        balancers: where load balancers are.
        exempt: where an address stands for many users.
    """

    settings: RelaySettings
    timers: Timers
    balancers: TrustedNetworks
    exempt: TrustedNetworks

    @classmethod
    def of(cls, settings: RelaySettings) -> Self:
        """Work them out."""
        balancers = TrustedNetworks(settings.relay_proxy_networks)
        return cls(settings, Timers.of(settings), balancers, TrustedNetworks(settings.relay_exempt_networks))


@dataclass(slots=True)
class House:
    """What every session leans on. Its settings are replaced by a reload, so they are read where they are used."""

    settings: RelaySettings
    certificates: Certificates
    doorkeeper: Doorkeeper
    guard: Guard
    quotas: Quotas
    suppressions: SuppressionLists
    intake: Intake
    transcripts: Transcripts
    metrics: RelayMetrics
    log: Any = field(default_factory=structlog.get_logger)
    outbox: Outbox = field(default_factory=lambda: Outbox(asyncio.get_running_loop()))
    _terms: Terms | None = field(default=None, init=False, repr=False)

    @property
    def terms(self) -> Terms:
        """What the settings of now mean to a session."""
        if self._terms is None or self._terms.settings is not self.settings:
            self._terms = Terms.of(self.settings)
        return self._terms


class Visit(Session):
    """What is known of a peer and its stay.

    Attributes:
        proxy: the load balancer that it came through.
        id: correlation id: in every log line, the Received header, the job and every reply that says "later".
        tls: version and cipher, as the Received header tells them.
        errors: error replies since the last accepted message.
        certificate_names: names in the client's certificate, once it is verified.
    """

    peer: str

    def __init__(self, loop: asyncio.AbstractEventLoop, peer: str) -> None:
        super().__init__(loop)
        self.id = base64.b32encode(secrets.token_bytes(_ID_OCTETS)).decode().lower()
        self.peer = peer
        self.proxy: str | None = None
        self.tls = ""
        self.credential: Credential | None = None
        self.certificate_names: tuple[str, ...] = ()
        self.failed_sign_ins = 0
        self.errors = 0
        self.accepted = 0
        self.refused = 0
        self.deferred = 0

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What AUTH is offered with."""
        return WITH_CERTIFICATE if self.certificate_names else MECHANISMS

    @property
    def account_name(self) -> str | None:
        """The account that the session is signed in to, or None."""
        return self.credential.account.name if self.credential else None

    @property
    def signed_in(self) -> Credential:
        """The credential of a session that has signed in."""
        assert self.credential  # noqa: S101 - order.NEEDS asks for AUTH before mail
        return self.credential


class Draft(Envelope):
    """A transaction: what MAIL and RCPT said; the dictionary has each recipient once.

    Attributes:
        arrival: the message, once its content has begun.
    """

    def __init__(self) -> None:
        # Of what Envelope's own would set, what is used here; one is made for every message.
        self.mail_from = None
        self.smtp_utf8 = False
        self.rcpt_tos = []
        self.options = NO_MAIL_OPTIONS
        self.recipients: dict[str, Recipient] = {}
        self.arrival: Arrival | None = None

    def discard(self) -> None:
        """Let go of what has come of the message."""
        if self.arrival:
            self.arrival.content.discard()
