"""Windows of the calendar, and what does not fit in them."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.accounts import Quota, Unit, Window
from mail.errors import Reply
from mail.quotas import Span, Standing, amount, exceeded, span_at

windows = st.sampled_from(get_args(Window))
moments = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - it wants naive limits
NOW = datetime(2026, 11, 22, 19, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("hour", "2026-11-22T19:59:59.999999", "2026-11-22T19:00", "2026-11-22T20:00"),
        ("hour", "2026-12-31T23:00", "2026-12-31T23:00", "2027-01-01T00:00"),
        # The nights when clocks change in Europe have 24 hours here.
        ("day", "2026-03-29T01:30", "2026-03-29", "2026-03-30"),
        ("day", "2026-10-25T01:30", "2026-10-25", "2026-10-26"),
        ("day", "2028-02-28T12:00", "2028-02-28", "2028-02-29"),
        ("month", "2026-02-28T23:59", "2026-02-01", "2026-03-01"),
        ("month", "2028-02-29T00:00", "2028-02-01", "2028-03-01"),
        ("month", "2026-01-31T12:00", "2026-01-01", "2026-02-01"),
        ("month", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
    ],
)
def test_windows_follow_the_calendar(window: Window, now: str, start: str, end: str) -> None:
    assert span_at(window, at(now)) == Span(at(start), at(end))


@given(windows, moments)
def test_windows_leave_no_gap_and_do_not_overlap(window: Window, now: datetime) -> None:
    span = span_at(window, now)
    assert span.start <= now < span.end
    assert span_at(window, span.start) == span
    assert span_at(window, span.end - timedelta(microseconds=1)) == span
    assert span_at(window, span.end).start == span.end


def standing(window: Window, unit: Unit, limit: int, used: int) -> Standing:
    return Standing(Quota(window, unit, limit), used, span_at(window, NOW))


@pytest.mark.parametrize(
    ("full", "reply"),
    [
        (standing("hour", "recipients", 5, 5), "Hourly quota of 5 recipients reached, resets 2026-11-22T20:00Z"),
        (standing("day", "messages", 10000, 10000), "Daily quota of 10000 messages reached, resets 2026-11-23T00:00Z"),
        (standing("month", "messages", 0, 0), "Monthly quota of 0 messages reached, resets 2026-12-01T00:00Z"),
    ],
)
def test_the_reply_says_the_limit_and_when_it_resets(full: Standing, reply: str) -> None:
    assert full.reply == Reply(452, "4.7.1", reply)


@given(windows, st.sampled_from(get_args(Unit)), st.integers(0, 50), st.integers(0, 60), st.integers(1, 20))
def test_what_is_left_is_what_still_fits(window: Window, unit: Unit, limit: int, used: int, recipients: int) -> None:
    one = standing(window, unit, limit, used)
    assert (exceeded([one], recipients) is None) == (amount(unit, recipients) <= one.left)


def test_of_several_full_quotas_the_one_that_lasts_longest_is_told() -> None:
    hour, month = standing("hour", "messages", 5, 5), standing("month", "recipients", 9, 8)
    assert exceeded([hour, month, standing("day", "messages", 5, 1)], 1) == hour
    assert exceeded([hour, month, standing("day", "messages", 5, 1)], 2) == month


@pytest.mark.parametrize(
    ("limit", "used", "alarming"),
    [(10, 7, False), (10, 8, True), (9, 7, False), (9, 8, True), (1, 0, False), (0, 0, True)],
)
def test_four_fifths_are_alarming(limit: int, used: int, alarming: bool) -> None:  # noqa: FBT001 - a table
    assert standing("day", "messages", limit, used).alarming == alarming
