"""What the API takes and gives, as OpenAPI tells it."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from backing.ids import now
from mail.nesting import cut
from mail.states import MessageState, State

AccountName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["shop"])]
Utc = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
T = TypeVar("T")
# Within these no offset and no period of ours leads to a time that programs cannot count with.
EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _written(value: object) -> object:
    """A number is no time, though pydantic would take it for seconds since 1970."""
    if not isinstance(value, str) or not _DATE.match(value):
        raise ValueError("a time is a text, as in 2026-11-24T12:00:00Z")
    return value


def _aware(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time needs its offset from UTC, as in 2026-11-24T12:00:00Z")
    if not EARLIEST <= at <= LATEST:
        raise ValueError("a time is between the years 1970 and 9000")
    return at


def _to_come(at: datetime) -> datetime:
    if at <= now():
        raise ValueError("it is over already")
    return at


Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_written), AfterValidator(_aware)]
# What was stored when there was no limit to it can be shown all the same.
Document = Annotated[dict[str, Any], BeforeValidator(cut)]
End = Annotated[Moment, AfterValidator(_to_come)]


class Taken(BaseModel):
    """What is sent to us: nothing that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Body(Taken):
    """The JSON that is sent to us: false is no number, and 0 is no time."""

    model_config = ConfigDict(strict=True)


class Given(BaseModel):
    """What we send.

    Attributes:
        counted: fields that change without anybody's change of it; they are no part of its version.
    """

    model_config = ConfigDict(from_attributes=True, frozen=True)
    counted: ClassVar[frozenset[str]] = frozenset()


class Rotation(Body):
    """How a secret is exchanged."""

    overlap_hours: int = Field(default=24, ge=0, le=720, description="How long the old one is good still.")


class Of(Taken):
    """Which account is acted for."""

    account: AccountName | None = Field(None, description="Needed with an operator's key; else the key's own.")


class Paged(Of):
    """Which page of a list is asked for."""

    cursor: str | None = Field(None, max_length=200, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=200, description="Most items of a page.")


class Listed(Given, Generic[T]):
    """A page of a list."""

    items: list[T]
    next: str | None = Field(None, description="Cursor of the page after this one; null at the end.")


class MessageSummary(Given):
    """A message as a search finds it."""

    id: UUID
    accepted_at: Utc
    state: MessageState | None = Field(description="Null for a duplicate, which goes nowhere itself.")
    mail_from: str
    recipient: str | None = Field(description="The first one.")
    states: dict[str, int] = Field(description="Recipients by how they stand.")
    header_message_id: str | None
    size: int
    stream: str
    duplicate_of: UUID | None


class RecipientState(Given):
    """How a recipient stands."""

    n: int = Field(description="Its number, by which orders name it.")
    address: str
    state: State
    provider: str | None
    provider_message_id: str | None
    code: int | None
    enhanced: str | None
    reply: str | None = Field(description="What was said of it last.")
    tries: int
    next_attempt_at: Utc | None
    rule: str | None
    redirected_to: str | None
    dsn: str | None
    released: bool
    ordered: str | None = Field(
        description="What was ordered of it last: hold, cancel, release, retry or reroute; null: nothing."
    )
    by_order: str | None = Field(description="Provider that was ordered for it, alone; null: its rules choose.")
    updated_at: Utc


class TimelineEntry(Given):
    """Something that happened to a message."""

    at: Utc
    kind: str = Field(description="accepted, queued, claimed, attempt, event, decided or report.")
    recipients: list[int] | None = Field(description="Their numbers; null for all.")
    provider: str | None
    outcome: str | None
    code: int | None
    enhanced: str | None
    words: str | None
    ended_at: Utc | None
    attempt: int | None
    provider_message_id: str | None
    message: UUID | None


class MessageDetail(Given):
    """All that is known of a message."""

    id: UUID
    account: str | None
    state: MessageState | None
    credential: str | None
    session: str
    mail_from: str
    size: int
    header_message_id: str | None
    stream: str
    tags: list[str]
    smtputf8: bool
    require_tls: bool
    accepted_at: Utc
    queued_at: Utc
    claimed_at: Utc
    expires_at: Utc
    duplicate_of: UUID | None
    stored: bool = Field(description="Whether its body is stored, as it is while mail waits.")
    recipients: list[RecipientState]
    timeline: list[TimelineEntry]
    cut: bool = Field(description="Whether there was more than is told.")


class EarlyOrder(Given):
    """What was ordered of a message before a worker has taken it."""

    what: str = Field(description="hold, cancel, release or reroute.")
    n: int | None = Field(description="Number of the recipient; null for all.")
    provider: str | None = Field(description="Of a reroute: through which one; null is by the rules.")


class MessageWaiting(Given):
    """A message that was accepted here and that no worker has taken from the queue yet."""

    id: UUID
    account: str | None
    state: Literal["queued"] = "queued"
    accepted_at: Utc
    orders: list[EarlyOrder] = Field(description="What is noted for when a worker has it, in this order.")


class Ordered(Given):
    """What an order changed."""

    id: UUID
    recipients: list[int] = Field(description="Numbers of the recipients that were changed.")
    noted: bool = Field(
        False,
        description="Whether no worker has written down a message of this id, and the order is noted for when one has.",
    )


class Accepted(Given):
    """A message that is on the queue."""

    id: UUID
    replayed: bool = Field(False, description="Whether it was submitted before, with the same Idempotency-Key.")
