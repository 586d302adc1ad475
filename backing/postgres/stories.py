"""The story of one message, told by its id, and the search for messages (CORE-API-007)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from psycopg.rows import class_row, dict_row
from pydantic import TypeAdapter

from backing.postgres.pool import Connection
from backing.postgres.sql import statements
from mail.job import StoredBody
from mail.states import MessageState, State, message_state

SQL = statements(__file__)

# Attempts, and events, of one story. Mail that is opened a thousand times is no longer a story.
MAX_MOMENTS: Final = 1000
# Messages that are looked at for those of which a recipient stands as is asked for.
MAX_LOOKED: Final = 10_000
_FIRST: Final = UUID(int=0)
_LAST: Final = UUID(int=(1 << 128) - 1)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a message as a whole.

    Attributes:
        account, credential: their names, or None where they are deleted.
        header_message_id: its Message-ID, as the client wrote it.
        claimed_at: when a worker took it from the queue and wrote it down.
        duplicate_of: the message that was submitted before it; then nothing is sent of this one.
        stored: whether its body lies in S3; an order to send it once more needs it.
    """

    id: UUID
    account_id: UUID
    account: str | None
    credential: str | None
    session: str
    mail_from: str
    size: int
    header_message_id: str | None
    stream: str
    tags: tuple[str, ...]
    smtputf8: bool
    require_tls: bool
    accepted_at: datetime
    queued_at: datetime
    claimed_at: datetime
    expires_at: datetime
    duplicate_of: UUID | None
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a recipient stands.

    Attributes:
        provider: name of the one that was asked last.
        code, enhanced, reply: what was said of it last.
        tries: attempts that count against the retry schedule.
        rule: name of the rule that chose its way.
        dsn: what its sender was told last, "failed" or "delayed".
        released: whether an operator has let it go.
        ordered: what was ordered of it last: hold, cancel, release, retry or reroute; None: nothing.
        by_order: name of the provider that was ordered for it; None: none, or it is deleted.
    """

    n: int
    address: str
    state: State
    provider: str | None
    provider_message_id: str | None
    code: int | None
    enhanced: str | None
    reply: str | None
    tries: int
    next_attempt_at: datetime | None
    rule: str | None
    redirected_to: str | None
    dsn: str | None
    released: bool
    ordered: str | None
    by_order: str | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to a message.

    Attributes:
        kind: accepted, queued, claimed, attempt, event (of the provider), decided (without an attempt), or report.
        recipients: their numbers, or None for all.
        outcome: how it ended.
        words: what was said.
        ended_at: of an attempt.
        message: of a report, which is a message itself.
    """

    at: datetime
    kind: str
    recipients: tuple[int, ...] | None = None
    provider: str | None = None
    outcome: str | None = None
    code: int | None = None
    enhanced: str | None = None
    words: str | None = None
    ended_at: datetime | None = None
    attempt: int | None = None
    worker: str | None = None
    provider_message_id: str | None = None
    message: UUID | None = None


# What PostgreSQL has put together, read in one step.
_STANDINGS: Final = TypeAdapter(tuple[Standing, ...])
_MOMENTS: Final = TypeAdapter(tuple[Moment, ...])
_NONE: Final = "[]"


@dataclass(frozen=True, slots=True)
class Story:
    """All that can be told of a message, the earliest moment first.

    Attributes:
        cut: whether there were more moments than are told.
    """

    facts: Facts
    recipients: tuple[Standing, ...]
    moments: tuple[Moment, ...]
    cut: bool = False

    @property
    def state(self) -> MessageState | None:
        """How the message stands as a whole; None for a duplicate, which goes nowhere itself."""
        return None if self.facts.duplicate_of else message_state(each.state for each in self.recipients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A message that a search found; `states` counts its recipients by how they stand, `recipient` is the first."""

    id: UUID
    accepted_at: datetime
    mail_from: str
    header_message_id: str | None
    size: int
    stream: str
    duplicate_of: UUID | None
    recipient: str | None
    states: Mapping[str, int]

    @property
    def state(self) -> MessageState | None:
        """As of a story."""
        return None if self.duplicate_of else message_state(map(State, self.states))


# Where a page ends: when the last message of it was accepted, and its id.
Place = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for; None is anything.

    Attributes:
        recipient: an address, in any case.
        header_message_id: with or without its brackets.
        provider_message_id: of an attempt, likewise.
        state: of one of the recipients.
        since: the earliest time at which it was accepted.
        before: where the page before ended.
        most: messages of a page.
    """

    recipient: str | None = None
    header_message_id: str | None = None
    provider_message_id: str | None = None
    state: State | None = None
    since: datetime | None = None
    before: Place | None = None
    most: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, the newest first; and where to go on, or None at the end."""

    messages: tuple[Found, ...]
    following: Place | None


async def tell(connection: Connection, message_id: UUID, account_id: UUID | None = None) -> Story | None:
    """Tell the story of a message.

    Args:
        connection: for one statement, or more.
        message_id: its id.
        account_id: whose it has to be, or None for anyone's: only an operator may ask so.

    Returns:
        None where there is no such message, or it is another account's.
    """
    asked = {"id": message_id, "asked_by": account_id, "most": MAX_MOMENTS + 1}
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(SQL["story"], asked)).fetchone()
    if row is None:
        return None
    recipients = _STANDINGS.validate_json(row.pop("recipients") or _NONE)
    told = [_MOMENTS.validate_json(row.pop(name) or _NONE) for name in ("attempts", "events", "reports")]
    return _story(Facts(**row | {"tags": tuple(row["tags"])}), recipients, told)


async def body_of(connection: Connection, message_id: UUID, account_id: UUID | None = None) -> StoredBody | None:
    """Say where the body of a message lies, or None: it is not stored, or there is no such message, as for `tell`."""
    row = await (await connection.execute(SQL["body"], {"id": message_id, "asked_by": account_id})).fetchone()
    return StoredBody(*row) if row else None


def _story(facts: Facts, recipients: tuple[Standing, ...], told: Sequence[Sequence[Moment]]) -> Story:
    attempts, events, reports = (each[:MAX_MOMENTS] for each in told)
    moments = [
        Moment(at=facts.accepted_at, kind="accepted"),
        Moment(at=facts.queued_at, kind="queued"),
        Moment(at=facts.claimed_at, kind="claimed"),
        *attempts,
        *events,
        *_decided(recipients, attempts),
        *reports,
    ]
    # Of one time, in the order of their kinds.
    ordered = tuple(sorted(moments, key=lambda moment: moment.at))
    return Story(facts, recipients, ordered, cut=any(len(each) > MAX_MOMENTS for each in told))


def _decided(recipients: Iterable[Standing], attempts: Iterable[Moment]) -> list[Moment]:
    """What became of recipients without an attempt or an event; an attempt ends in the transaction of its result."""
    ends = {each.ended_at for each in attempts}
    together: defaultdict[tuple[datetime, str, str | None, str], list[int]] = defaultdict(list)
    for each in recipients:
        if each.reply is not None and each.updated_at not in ends and each.state not in _BY_EVENT:
            together[(each.updated_at, each.state, each.enhanced, each.reply)].append(each.n)
    return [
        Moment(at=at, kind="decided", recipients=tuple(ns), outcome=state, enhanced=enhanced, words=words)
        for (at, state, enhanced, words), ns in together.items()
    ]


_BY_EVENT: Final = frozenset({State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.COMPLAINED})


async def search(connection: Connection, account_id: UUID, wanted: Search) -> Page:
    """Search for messages of an account, the newest first.

    What a search costs is bounded by its page: a state alone has no index, so of the newest `MAX_LOOKED` messages
    that are else as wanted, those are given that stand so; the page says where to go on.
    """
    looked = wanted.most if wanted.state is None else MAX_LOOKED
    before, before_id = wanted.before or (None, _LAST)
    values = {
        "account_id": account_id,
        "recipient": wanted.recipient,
        "header_ids": _spellings(wanted.header_message_id),
        "provider_ids": _spellings(wanted.provider_message_id),
        "since": wanted.since,
        "before": before,
        "before_id": before_id,
        "most": looked,
    }
    cursor = await connection.execute(SQL[_way(wanted)], values)
    places: list[Place] = [(accepted_at, found) for found, accepted_at in await cursor.fetchall()]
    of_these = {"account_id": account_id, "ids": [place[1] for place in places], "state": wanted.state}
    found = await _rows(connection, Found, "listed", of_these | {"most": wanted.most})
    following = places[-1] if len(places) == looked else None
    if len(found) == wanted.most:
        following = (found[-1].accepted_at, found[-1].id)
    return Page(tuple(found), following)


def ended_at(until: datetime | None) -> Place | None:
    """Give the place before which a search begins that wants what was accepted before a time."""
    return (until, _FIRST) if until else None


def _spellings(named: str | None) -> list[str] | None:
    """An id with and without its brackets, which are no part of it."""
    if named is None:
        return None
    bare = named.strip().removeprefix("<").removesuffix(">")
    return [bare, f"<{bare}>"]


def _way(wanted: Search) -> str:
    """The statement whose index leaves the least to look at."""
    if wanted.provider_message_id is not None:
        return "by_provider"
    if wanted.header_message_id is not None:
        return "by_header"
    return "by_time" if wanted.recipient is None else "by_recipient"


async def _rows(connection: Connection, kind: type[T], statement: str, values: Mapping[str, Any]) -> list[T]:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        return await (await cursor.execute(SQL[statement], values)).fetchall()
