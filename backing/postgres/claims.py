"""What a claim of a delivery tells, and what is written down about it in the end."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from mail.delivery import OnUnknown
from mail.job import StoredBody
from mail.states import DeliveryState, State


class Pending(NamedTuple):
    """A recipient that has no fate yet, or is held till an operator decides.

    Attributes:
        tries: attempts that count against the retry schedule.
        wait: seconds until it is due; 0 or less when it is.
        provider_id: who was asked last.
        suppressed: why its account does not send to it, or None.
        told: what its sender was told of it last, "delayed" or "failed", or None.
        redirected_to: the address that a rule sent it to instead, or None.
        released: whether an operator has let it go, so that no rule holds it.
        by_order: the provider that an operator has chosen for it, or None.
    """

    n: int
    state: State = State.QUEUED
    tries: int = 0
    wait: float = 0.0
    provider_id: UUID | None = None
    suppressed: str | None = None
    told: str | None = None
    redirected_to: str | None = None
    released: bool = False
    by_order: UUID | None = None


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the account wants done with its mail; None leaves it to the worker."""

    on_unknown: OnUnknown = OnUnknown.RESEND
    retry_seconds: tuple[int, ...] | None = None
    send_dsn: bool = True
    delay_notice_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The lease is ours.

    Attributes:
        token: what a result must carry; a later claim has a higher one.
        attempts: how many were begun before.
        pending: the recipients that have no fate yet or are held, in order.
        stored: where the body lies, or None while it rides on the queue.
    """

    delivery_id: UUID
    token: int
    attempts: int
    expires_at: datetime
    pending: tuple[Pending, ...]
    stored: StoredBody | None = None
    wishes: Wishes = Wishes()


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The message was submitted before, as `of`."""

    of: UUID


@dataclass(frozen=True, slots=True)
class Leased:
    """Another worker has it for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is not due for so many seconds; when its body is stored, the dispatcher brings it back."""

    seconds: float
    stored: bool


@dataclass(frozen=True, slots=True)
class Ordered:
    """Something was ordered of it before it was written down, which comes first."""


Claim = Claimed | Finished | Duplicate | Leased | Waiting | Ordered


@dataclass(frozen=True, slots=True)
class Begin:
    """An attempt that is about to be made.

    Attributes:
        n: its number among the attempts of the delivery.
        recipients: their numbers.
    """

    delivery_id: UUID
    token: int
    n: int
    provider_id: UUID
    recipients: tuple[int, ...]
    rule_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of an attempt, told by the answer that shows it best."""

    n: int
    outcome: str
    code: int | None
    enhanced: str | None
    reply: str
    retry_after: float | None = None
    provider_message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """How a recipient stands after a claim.

    Attributes:
        wait: seconds until it is due again, or None when it is not.
        asked: whether a provider was; what is settled without one keeps the words of the last.
    """

    n: int
    state: State
    code: int | None = None
    enhanced: str | None = None
    reply: str
    tries: int = 0
    wait: float | None = None
    asked: bool = True
    provider_id: UUID | None = None
    provider_message_id: str | None = None
    rule_id: UUID | None = None
    redirected_to: str | None = None
    dsn: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A message to the sender about its message (RFC 3464), to be sent when the result is written down."""

    id: UUID
    sender: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a claim.

    Attributes:
        state: of the delivery.
        wait: seconds until it is due again, or None when it is not.
        body: where the body lies, or None.
    """

    delivery_id: UUID
    token: int
    state: DeliveryState
    wait: float | None
    fates: tuple[Fate, ...]
    ended: tuple[Ended, ...] = ()
    body: StoredBody | None = None
    report: Report | None = None
