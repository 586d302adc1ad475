"""Reading the JSON of others: every value has its type, and nothing is longer than we can keep."""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from mail.events.event import BadCall, Fault, ProviderEvent, Told
from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG

# SQS and SNS carry 256 KB and 1 MiB; SendGrid's batches end at 768 KB.
MAX_OCTETS: Final = 1_048_576
MAX_EVENTS: Final = 5_000
MAX_TEXT: Final = 500
MAX_WORD: Final = 100
MAX_NAME: Final = 255
MAX_ADDRESS: Final = 320
# Faults and unknown kinds that are told one by one; a call full of them has more.
_MAX_TOLD: Final = 100
_MAX_N: Final = 100_000

_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_REPLY = re.compile(r"(?:smtp;\s*)?([2-5]\d\d)?(?:[ -]|\b|$)\s*(?:([245]\.\d{1,3}\.\d{1,3})\b)?", re.IGNORECASE)
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Unreadable(ValueError):  # noqa: N818 - a fact about an event
    """One event is not of the form that its provider describes; says where."""


class Fields:
    """A JSON object, read field by field.

    Args:
        value: what ought to be an object.
        name: where it is, for complaints.
    """

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            raise Unreadable(f"{name} is no object")
        self._fields: dict[str, Any] = value
        self.name = name

    def has(self, name: str) -> bool:
        """Whether it is there and not null."""
        return self._fields.get(name) is not None

    def word(self, name: str, most: int = MAX_WORD) -> str:
        """A text that must be there."""
        value = self._fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value) if abs(value) < 1 << 64 else ""
        text = clean(value, most) if isinstance(value, str) else ""
        if not text:
            raise self._wrong(name, "no text")
        return text

    def text(self, name: str, most: int = MAX_TEXT) -> str:
        """A text, or empty where there is none."""
        value = self._fields.get(name)
        return clean(value, most) if isinstance(value, str) else ""

    def long(self, name: str) -> str:
        """A text of any length, as it is, or empty where there is none."""
        value = self._fields.get(name)
        return value if isinstance(value, str) else ""

    def value(self, name: str) -> object:
        """Whatever is there."""
        return self._fields.get(name)

    def number(self, name: str) -> int | None:
        """A whole number, or None where there is none."""
        value = self._fields.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(_MAX_N)):
            return int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def flag(self, name: str) -> bool:
        """Whether it is true."""
        return self._fields.get(name) is True

    def address(self, name: str) -> str:
        """A mail address that must be there; of `Name <address>`, what stands in the brackets."""
        return address(self._fields.get(name), f"{self.name}.{name}")

    def time(self, name: str) -> datetime:
        """A time that must be there: ISO 8601, or seconds since 1970."""
        value = self._fields.get(name)
        try:
            found = datetime.fromisoformat(value) if isinstance(value, str) else _from_seconds(value)
            at = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError, OSError):
            raise self._wrong(name, "no time") from None
        if not _EARLIEST < at < _LATEST:
            raise self._wrong(name, "no time of ours")
        return at

    def object(self, name: str) -> "Fields":
        """An object; an empty one where there is none."""
        value = self._fields.get(name)
        return Fields({} if value is None else value, f"{self.name}.{name}")

    def items(self, name: str) -> list[Any]:
        """A list; an empty one where there is none."""
        value = self._fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > MAX_EVENTS:
            raise self._wrong(name, f"no list of at most {MAX_EVENTS}")
        return value

    def objects(self, name: str) -> Iterator["Fields"]:
        """The objects of a list."""
        for k, value in enumerate(self.items(name)):
            yield Fields(value, f"{self.name}.{name}[{k}]")

    def first(self, name: str) -> str:
        """The first text of a list of texts, or empty."""
        values = self._fields.get(name)
        value = values[0] if isinstance(values, list) and values else None
        return clean(value, MAX_NAME) if isinstance(value, str) else ""

    def message(self) -> UUID | None:
        """Our tag that names the message."""
        return message_of(self.text(MESSAGE_TAG, MAX_NAME))

    def recipient(self) -> int | None:
        """Our tag that numbers the recipient."""
        return recipient_of(self._fields.get(RECIPIENT_TAG))

    def _wrong(self, name: str, what: str) -> Unreadable:
        return Unreadable(f"{self.name}.{name} is {what}")


def document(body: bytes | str) -> Any:
    """Read the JSON of a call.

    Raises:
        BadCall: it is too long, or not JSON.
    """
    if len(body) > MAX_OCTETS:
        raise BadCall(Fault.PROVIDER, f"longer than {MAX_OCTETS} octets")
    try:
        return json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as fault:
        raise BadCall(Fault.PROVIDER, f"not JSON: {type(fault).__name__}") from None


def whole(value: object, name: str) -> Fields:
    """The object that a call is.

    Raises:
        BadCall: it is none.
    """
    try:
        return Fields(value, name)
    except Unreadable as fault:
        raise BadCall(Fault.PROVIDER, str(fault)) from None


def told(items: Iterable[Callable[[], Iterable[ProviderEvent] | str]]) -> Told:
    """Read events one by one; each gives what it tells, or the name of a kind that is ignored."""
    events: list[ProviderEvent] = []
    ignored: list[str] = []
    faults: list[str] = []
    for item in items:
        try:
            found = item()
            if isinstance(found, str):
                ignored.append(found)
            else:
                events.extend(found)
        except Unreadable as fault:
            faults.append(str(fault))
    return Told(tuple(events[:MAX_EVENTS]), tuple(ignored[:_MAX_TOLD]), tuple(faults[:_MAX_TOLD]))


def clean(text: str, most: int = MAX_TEXT) -> str:
    """Somebody's words as the log and the database can keep them: valid UTF-8, no control characters, not endless."""
    readable = text[: most * 2].encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() else " " for char in readable).strip()[:most]


def identity(*parts: str | datetime) -> str:
    """Name an event by what makes it what it is."""
    texts = [part if isinstance(part, str) else part.isoformat() for part in parts]
    return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:40]


def address(value: object, name: str) -> str:
    """Read a mail address; of `Name <address>`, what stands in the brackets."""
    text = clean(value, MAX_ADDRESS) if isinstance(value, str) else ""
    if text.endswith(">") and "<" in text:
        text = text[text.rindex("<") + 1 : -1]
    local, _, domain = text.rpartition("@")
    if not (local and domain):
        raise Unreadable(f"{name} is no address")
    return text


def message_of(text: str) -> UUID | None:
    """The message that a tag names; None for a tag of somebody else's."""
    return UUID(text) if _UUID.fullmatch(text) else None


def recipient_of(value: object) -> int | None:
    """The recipient that a tag numbers; None for a tag of somebody else's."""
    number = Fields({RECIPIENT_TAG: value}, "").number(RECIPIENT_TAG)
    return number if number is not None and 0 <= number <= _MAX_N else None


def reply(text: str) -> tuple[int | None, str | None]:
    """Reply code and enhanced status code that a server's words begin with, after `smtp;` if that stands there."""
    match = _REPLY.match(text)
    if match is None:
        return None, None
    return int(match[1]) if match[1] else None, match[2]


def enhanced(text: str) -> str | None:
    """An enhanced status code, or None where it is something else."""
    return text if _ENHANCED.fullmatch(text) else None


def bare(name: str) -> str | None:
    """A Message-ID without its angle brackets, or None for an empty one."""
    return name.removeprefix("<").removesuffix(">") or None


def _from_seconds(value: object) -> datetime:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError
    return datetime.fromtimestamp(value, UTC)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
