"""What every provider is asked and answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from mail.delivery import Outcome, RecipientResult, Scope
from mail.job import Recipient

if TYPE_CHECKING:
    from worker.providers.trail import Trail

MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What a provider is told beside the message itself.

    Attributes:
        key: names this sending at this provider; the same whenever it is repeated there.
        account_id: whose mail it is.
        recipients: those to send to, each with its number in the envelope that the client gave.
        smtputf8: whether only an SMTPUTF8 peer can take it.
        eight_bit: whether the body has octets above 127.
        ret: RET, envid: ENVID of the client (RFC 3461).
        require_tls: whether only verified TLS will do, all the way (RFC 8689).
    """

    message_id: UUID
    key: UUID
    account_id: UUID
    mail_from: str
    recipients: tuple[tuple[int, Recipient], ...]
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str | None = None
    envid: str | None = None
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """A provider's configuration, as its account wrote it, and its opened secret.

    No representation shows either: what is a name at one provider is a key at another.
    """

    id: UUID
    name: str
    config: dict[str, Any] = field(repr=False)
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can do, and how far it may be trusted.

    Attributes:
        verified_tls: whether every connection to it is TLS with a checked certificate.
        requiretls: whether it can promise the same for the rest of the way (RFC 8689).
        max_recipients: that one attempt may have.
        max_octets: of a message as it is sent, or None where only the provider knows.
        smtputf8: whether it takes addresses outside ASCII; None where only a connection tells.
        idempotent: whether a repeated key is taken once, so that an unknown outcome may be sent again at once.
        evidence_seconds: how long its events may take to tell of mail whose outcome is unknown; None without events.
        rewrites_message_id: whether recipients see another Message-ID than the client wrote.
    """

    verified_tls: bool
    requiretls: bool = False
    max_recipients: int = 1000
    max_octets: int | None = None
    smtputf8: bool | None = None
    idempotent: bool = False
    evidence_seconds: float | None = None
    rewrites_message_id: bool = False


class Provider(Protocol):
    """Somewhere to send mail to."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions.

        Args:
            envelope: who it is from and for.
            body: the message, delivered octet for octet.
            deadline: event loop time at which the attempt must have ended.
        """
        ...

    async def check(self, trail: "Trail") -> None:
        """Go as far as a mail would, without one: over connections of its own, and within the time that it is given.

        Args:
            trail: where each step is noted.

        Raises:
            Failed: the provider refuses us; `Unsure` where that may be about the check alone.
            OSError, ValueError: it cannot be reached, breaks off or talks nonsense.
        """
        ...

    async def close(self) -> None:
        """Close what is kept open; attempts that are under way may end first."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome with the words that led to it, before it is known whom it concerns; fields as in RecipientResult."""

    outcome: Outcome
    code: int | None
    enhanced: str | None
    text: str
    retry_after: float | None = None
    scope: Scope | None = None
    provider_message_id: str | None = None

    def to(self, numbers: Sequence[int]) -> list[RecipientResult]:
        """The same answer for several recipients."""
        text = clean(self.text)
        rest = (self.retry_after, self.scope, self.provider_message_id)
        return [RecipientResult(n, self.outcome, self.code, self.enhanced, text, *rest) for n in numbers]


class Failed(Exception):  # noqa: N818 - an answer
    """The attempt cannot go on; carries the answer for every recipient that has none yet."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.text)


class Unsure(Failed):
    """A check cannot go on, which says nothing of whether mail would be taken.

    Attributes:
        hint: how to find out.
    """

    def __init__(self, answer: Answer, hint: str) -> None:
        super().__init__(answer)
        self.hint = hint


# RFC 8689, 4.2.1: what is said of mail with REQUIRETLS where the next hop has not what it takes.
NO_REQUIRETLS = Answer(Outcome.MESSAGE_PERMANENT, 550, "5.7.30", "REQUIRETLS support required")


def clean(text: str) -> str:
    """A peer's words as the log and the database can keep them: valid UTF-8, no control characters, not endless."""
    readable = text[: MAX_TEXT * 2].encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else " " for char in readable)[:MAX_TEXT]
