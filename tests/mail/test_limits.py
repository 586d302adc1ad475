"""What a provider may be given, as its operator writes it down."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.limits import Limits, WarmUp, day_of, least, limits_of, next_day

WARM_UP = {"start": "2026-11-01", "first": 50, "growth": 1.5, "days": 30}


def test_limits_are_read_as_they_are_kept() -> None:
    everything = {"rate": 14, "burst": 20, "concurrency": 64, "daily": 50000, "warm_up": WARM_UP}
    warm_up = WarmUp(date(2026, 11, 1), 50, 1.5, 30)
    assert limits_of(json.loads(json.dumps(everything))) == Limits(14.0, 20, 64, 50000, warm_up)
    assert limits_of({"rate": 0.5, "daily": None, "warm_up": None}) == Limits(rate=0.5)
    assert limits_of({}) == Limits()


@pytest.mark.parametrize(
    ("given_limits", "words"),
    [
        ({"rates": 1}, "limits has no 'rates'; it may have rate, burst, concurrency, daily, warm_up"),
        ({"rate": 0}, "rate is 0; it needs to be a number above 0 and up to 1e+06"),
        ({"rate": "14"}, "rate is '14'; it needs to be a number above 0 and up to 1e+06"),
        ({"rate": True}, "rate is True; it needs to be a number above 0 and up to 1e+06"),
        ({"rate": float("nan")}, "rate is nan; it needs to be a number above 0 and up to 1e+06"),
        ({"burst": 1.5}, "burst is 1.5; it needs to be a whole number from 1 to 1000000000000"),
        ({"concurrency": 0}, "concurrency is 0; it needs to be a whole number from 1 to 1000000000000"),
        ({"daily": -1}, "daily is -1; it needs to be a whole number from 1 to 1000000000000"),
        ({"warm_up": 50}, "warm_up is 50; it needs to be an object with start, first, growth, days"),
        ({"warm_up": WARM_UP | {"end": 1}}, "warm_up has no 'end'; it may have start, first, growth, days"),
        ({"warm_up": {"start": "2026-11-01", "first": 50, "days": 3}}, "warm_up.growth is missing; a warm-up needs"),
        ({"warm_up": WARM_UP | {"start": None}}, "warm_up.start is None; it needs to be a day such as 2026-11-01"),
        ({"warm_up": WARM_UP | {"start": "1.11."}}, "warm_up.start is '1.11.'; it needs to be a day"),
        ({"warm_up": WARM_UP | {"growth": 0.9}}, "warm_up.growth is 0.9; it needs to be 1 or more"),
        ({"warm_up": WARM_UP | {"growth": 11}}, "warm_up.growth is 11; it needs to be a number above 0 and up to 10"),
        ({"warm_up": WARM_UP | {"days": 367}}, "warm_up.days is 367; it needs to be a whole number from 1 to 366"),
        ({"daily": "9" * 1000}, f"daily is '{'9' * 59}; it needs to be"),
    ],
)
def test_what_is_wrong_is_named_with_its_value_and_what_is_needed(given_limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=r"needs|may have") as wrong:
        limits_of(given_limits)
    assert str(wrong.value).startswith(words)


@pytest.mark.parametrize(
    ("day", "cap"),
    [
        ("2026-10-01", 50),
        ("2026-11-01", 50),
        ("2026-11-02", 75),
        ("2026-11-03", 112),
        ("2026-11-19", 73_894),
        ("2026-11-20", 100_000),
        ("2026-12-01", 100_000),
    ],
)
def test_a_warm_up_grows_by_the_day_below_the_daily_limit(day: str, cap: int) -> None:
    limits = limits_of({"daily": 100_000, "warm_up": WARM_UP})
    assert limits.cap(date.fromisoformat(day)) == cap


def test_a_warm_up_without_a_daily_limit_ends_without_one() -> None:
    warm_up = limits_of({"warm_up": WARM_UP})
    assert (warm_up.cap(date(2026, 11, 30)), warm_up.cap(date(2026, 12, 1))) == (6_391_701, None)


@given(
    first=st.integers(1, 10**12),
    growth=st.floats(1, 10),
    days=st.integers(1, 366),
    nth=st.integers(-500, 500),
)
def test_a_warm_up_never_shrinks_and_never_overflows(first: int, growth: float, days: int, nth: int) -> None:
    schedule = WarmUp(date(2026, 11, 1), first, growth, days)
    day = date.fromordinal(schedule.start.toordinal() + nth)
    today, tomorrow = schedule.cap(day), schedule.cap(date.fromordinal(day.toordinal() + 1))
    assert (today is None) == (nth >= days)
    assert today is None or first <= today <= 10**12
    assert today is None or tomorrow is None or today <= tomorrow


@given(st.floats(0, 4e9))
def test_the_next_day_begins_after_now_and_within_a_day(now: float) -> None:
    ends = next_day(now)
    assert 0 < ends - now <= 86_400
    assert day_of(ends) > day_of(now)
    assert datetime.fromtimestamp(ends, UTC).time().isoformat() == "00:00:00"


def test_the_lowest_bound_counts() -> None:
    assert (least(), least(None, None), least(3, None, 2), least(None, 0.5)) == (None, None, 2, 0.5)
