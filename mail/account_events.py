"""What an account is told of its mail: one schema for every event, and its documentation drawn from the same table."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from mail.states import State

VERSION: Final = 1
# Of no message: somebody wants to see whether an endpoint takes what it is sent.
TEST: Final = "endpoint.test"

# What each state of a recipient is told as, with what it means; the other states are on the way to one of these.
TYPES: Final[Mapping[State, tuple[str, str]]] = {
    State.DEFERRED: ("recipient.deferred", "It was put off and is tried again."),
    State.UNKNOWN: ("recipient.unknown", "A provider may have taken it; it is found out, or decided by the account."),
    State.HELD: ("recipient.held", "It is kept until somebody decides."),
    State.ACCEPTED: ("recipient.accepted", "A provider has taken it."),
    State.DELIVERED: ("recipient.delivered", "The provider says that the recipient's server has it."),
    State.BOUNCED: ("recipient.bounced", "The provider had taken it, and could not deliver it."),
    State.COMPLAINED: ("recipient.complained", "The recipient calls it spam."),
    State.FAILED: ("recipient.failed", "It was refused for good."),
    State.EXPIRED: ("recipient.expired", "It could not be delivered in time."),
    State.SUPPRESSED: ("recipient.suppressed", "The address is on the account's suppression list; nothing was sent."),
    State.DISCARDED: ("recipient.discarded", "A routing rule threw it away."),
    State.CANCELLED: ("recipient.cancelled", "It was cancelled before it was sent."),
}
ALL_TYPES: Final = frozenset({TEST, *(name for name, _ in TYPES.values())})


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the schema: its name in JSON, its type, and what it says."""

    name: str
    kind: str
    meaning: str


ENVELOPE: Final = (
    Field("version", "integer", f"Of this schema: {VERSION}. A later one of the same number may add fields."),
    Field("id", "string", "UUIDv7 of the event; a repeated post has the same one, and so has the header `webhook-id`."),
    Field("type", "string", "One of the types below."),
    Field("time", "string", "When it happened: RFC 3339, UTC."),
    Field("account_id", "string", "UUID of the account."),
    Field("data", "object", "The fields below."),
)
DATA: Final = (
    Field("message_id", "string", "UUIDv7 of the message, as the reply to its submission named it."),
    Field("session", "string", "The SMTP session that it came in by."),
    Field("header_message_id", "string or null", "Its Message-ID header, as the client wrote it."),
    Field("stream", "string", "The stream that it belongs to; empty for none."),
    Field("tags", "array of strings", "Its tags."),
    Field("recipient", "string", "The recipient's address."),
    Field("n", "integer", "The recipient's number in the envelope, from 0."),
    Field("state", "string", "How the recipient stands now."),
    Field("provider", "string or null", "Name of the provider that was asked last."),
    Field("code", "integer or null", "SMTP reply code, or the HTTP status that stands for it."),
    Field("enhanced", "string or null", "Enhanced status code (RFC 3463)."),
    Field("text", "string or null", "The peer's words, or ours where it said none."),
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that an account is told; `data` has the fields of `DATA`, or none for a test."""

    id: UUID
    type: str
    time: datetime
    account_id: UUID
    data: Mapping[str, Any]


def encode(event: Event) -> bytes:
    """Write an event down, as endpoints and archives get it: the same octets each time.

    Raises:
        ValueError: its data are no object, so that nobody could read it.
    """
    if not isinstance(event.data, Mapping):
        raise ValueError(f"the data of event {event.id} are no object")  # noqa: TRY004 - of a value, not of a caller
    values = (VERSION, str(event.id), event.type, rfc3339(event.time), str(event.account_id), dict(event.data))
    fields = dict(zip((field.name for field in ENVELOPE), values, strict=True))
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def rfc3339(time: datetime) -> str:
    """Write a time as events have it, in UTC with microseconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def check_types(types: Iterable[str]) -> list[str]:
    """Give the types that an endpoint wants, sorted.

    Raises:
        ValueError: one of them is none; says which there are.
    """
    wanted = sorted(set(types))
    for name in wanted:
        if name not in ALL_TYPES:
            raise ValueError(f"{name[:60]!r} is no type of event; there are {', '.join(sorted(ALL_TYPES))}")
    return wanted


def reference() -> str:
    """The schema as Markdown."""
    types = [*TYPES.values(), (TEST, "Somebody tests the endpoint; `data` is empty.")]
    rows = [f"| `{name}` | {meaning} |" for name, meaning in types]
    return "\n".join(
        [
            *_table("Event", ENVELOPE),
            *_table("`data` of events of a recipient", DATA),
            "## Types",
            "",
            "| type | meaning |",
            "|---|---|",
            *rows,
            "",
        ]
    )


def _table(title: str, fields: Iterable[Field]) -> list[str]:
    rows = [f"| `{field.name}` | {field.kind} | {field.meaning} |" for field in fields]
    return [f"## {title}", "", "| field | type | meaning |", "|---|---|---|", *rows, ""]
