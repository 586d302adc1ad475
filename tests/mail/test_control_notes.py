"""What workers tell each other is understood, and what is no such word is not there."""

import json
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.breaker import Breaker, Cause, Condition
from mail.control_notes import (
    Reading,
    breaker_note,
    pace_note,
    read_breaker,
    read_pace,
    read_reading,
    reading_note,
)
from mail.limits import SendQuota
from mail.pace import Pace

NOW = 1020.0
TODAY, TOMORROW = date(2026, 11, 26), date(2026, 11, 27)


@pytest.mark.parametrize("cause", list(Cause))
def test_a_breaker_is_heard_as_it_was_told(cause: Cause) -> None:
    opened = Breaker(Condition.OPEN, 1000.5, 1010.5, 10.0, cause, 3)
    assert read_breaker(breaker_note(opened), NOW) == opened
    assert read_breaker(breaker_note(opened.probing(1010.5)), NOW) == opened._replace(until=1100.5)
    counting = Breaker(since=1011.0, began=1011.0, attempts=7, troubled=1, row=1, row_began=1012.0)
    assert read_breaker(breaker_note(counting), NOW) == Breaker(since=1011.0)


def test_a_pace_and_a_quota_are_heard_as_they_were_told() -> None:
    pace = Pace(100.0, 70.0, 1000.5, 1030.5)
    assert read_pace(pace_note(pace), NOW) == pace
    for quota in (SendQuota(14.0, 200), SendQuota(None, None, enabled=False)):
        reading = Reading(quota, 1000.5, 17)
        assert read_reading(reading_note(reading), NOW) == reading


def test_a_quota_is_for_what_is_sent_after_it_was_read() -> None:
    reading = Reading(SendQuota(14.0, 200), 1000.5, 17)
    assert (reading.cap(TODAY, TODAY), reading.cap(TOMORROW, TODAY)) == (217, 200)
    assert Reading(SendQuota(14.0, None), 1000.5, 17).cap(TODAY, TODAY) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["open", "since", "rate", "at", "left"]), inner),
)


def test_a_word_from_the_future_is_not_heard_and_none_lasts_for_ever() -> None:
    ahead = NOW + 6
    assert read_breaker(breaker_note(Breaker(Condition.OPEN, ahead, ahead, 1, Cause.DOWN)), NOW) is None
    assert read_pace(pace_note(Pace(2, 1, ahead)), NOW) is None
    assert read_reading(reading_note(Reading(SendQuota(1, 1), ahead, 0)), NOW) is None
    endless = Breaker(Condition.OPEN, NOW, 1e12, 1e12, Cause.DOWN)
    assert read_breaker(breaker_note(endless), NOW) == endless._replace(until=NOW + 86_400, wait=86_400)
    assert read_pace(pace_note(Pace(2, 1, NOW, 1e12)), NOW) == Pace(2, 1, NOW, NOW + 900)


@given(st.none() | st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"open": true, "since": 1, "until": 2, "wait": 1, "cause": "moods", "version": 1}')
@example(b'{"limit": 1, "rate": 0, "at": 1, "hold": 0}')
@example(b'{"limit": 1, "rate": 2, "at": 1, "hold": 0}')
@example(b'{"limit": NaN, "rate": NaN, "at": 1, "hold": 0}')
@example(b'{"rate": -1, "left": 1, "enabled": true, "at": 1, "used": 0}')
@example(b'{"rate": 1e999, "left": 1e999, "enabled": true, "at": 1, "used": 0}')
def test_what_is_no_word_of_ours_is_not_there(data: bytes | None) -> None:
    assert read_pace(data, NOW) is None
    assert read_reading(data, NOW) is None
    heard = read_breaker(data, NOW)
    assert heard is None or heard == Breaker(since=heard.since)
