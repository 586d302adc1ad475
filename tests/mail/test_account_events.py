"""The schema of events."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from mail.account_events import ALL_TYPES, DATA, ENVELOPE, TEST, TYPES, Event, check_types, encode, reference
from mail.states import TRANSITIONS, State

EVENT = Event(
    UUID(int=1),
    "recipient.accepted",
    datetime(2026, 11, 26, 1, 2, 3, 4, timezone(timedelta(hours=1))),
    UUID(int=2),
    {"recipient": "jörg@far.example", "code": 250},
)


def test_an_event_is_written_as_its_schema_says() -> None:
    read = json.loads(encode(EVENT))
    assert list(read) == [field.name for field in ENVELOPE]
    assert read == {
        "version": 1,
        "id": "00000000-0000-0000-0000-000000000001",
        "type": "recipient.accepted",
        "time": "2026-11-26T00:02:03.000004Z",
        "account_id": "00000000-0000-0000-0000-000000000002",
        "data": {"recipient": "jörg@far.example", "code": 250},
    }


@pytest.mark.parametrize("data", [["x"], "x", 1, None])
def test_data_that_are_no_object_are_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="no object"):
        encode(Event(UUID(int=1), TEST, datetime.now(UTC), UUID(int=2), data))


def test_every_state_is_told_but_those_on_the_way() -> None:
    assert set(TRANSITIONS) - set(TYPES) == {State.QUEUED, State.SENDING}
    assert {name for name, _ in TYPES.values()} == {f"recipient.{state}" for state in TYPES}


def test_types_are_checked() -> None:
    assert check_types(["recipient.failed", "recipient.bounced", "recipient.failed"]) == [
        "recipient.bounced",
        "recipient.failed",
    ]
    with pytest.raises(ValueError, match=r"'recipient\.lost' is no type of event; there are endpoint\.test, "):
        check_types(["recipient.lost"])


def test_the_reference_names_every_field_and_type() -> None:
    page = reference()
    names = [field.name for field in (*ENVELOPE, *DATA)] + sorted(ALL_TYPES)
    assert [name for name in names if f"| `{name}` |" not in page] == []
