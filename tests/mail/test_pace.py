"""A provider that complains is sent to more slowly, and little by little as fast as before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.pace import Pace, unhurried

NOW = 1_800_000_000.0
limits = st.floats(0.01, 1e6)


def test_a_complaint_slows_by_a_third_and_each_ten_seconds_bring_a_twentieth_back() -> None:
    slowed = unhurried(100).slowed(NOW)
    seconds = (0, 10, 20, 60, 1000)
    assert [slowed.at_time(NOW + s) for s in seconds] == pytest.approx([70, 75, 80, 100, 100])
    assert [slowed.recovered(NOW + s) for s in seconds] == [False, False, False, True, True]


def test_complaints_of_attempts_that_were_under_way_are_one() -> None:
    slowed = unhurried(100).slowed(NOW)
    assert slowed.slowed(NOW + 0.9) is slowed
    assert slowed.slowed(NOW + 10) == Pace(100, 52.5, NOW + 10)


def test_a_provider_that_wants_to_be_left_alone_is() -> None:
    slowed = unhurried(100).slowed(NOW, 30)
    assert slowed == Pace(100, 70, NOW, NOW + 30)
    assert slowed.slowed(NOW + 0.5, 10) is slowed
    assert slowed.slowed(NOW + 0.5, 40) == Pace(100, 70, NOW, NOW + 40.5)
    assert slowed.slowed(NOW + 2, 10**9).hold == NOW + 2 + 900
    late = Pace(100, 100, NOW, NOW + 30)
    assert (late.recovered(NOW + 29), late.recovered(NOW + 30)) == (False, True)


def test_another_limit_bounds_what_was_learned() -> None:
    slowed = unhurried(100).slowed(NOW)
    assert slowed.within(100) is slowed
    assert slowed.within(50) == Pace(50, 50, NOW)
    assert slowed.within(200) == Pace(200, 70, NOW)


@given(limits, st.lists(st.floats(0, 100), max_size=50))
def test_a_rate_stays_between_its_floor_and_its_limit(limit: float, waits: list[float]) -> None:
    pace, now = unhurried(limit), NOW
    for wait in waits:
        now += wait
        before = pace.at_time(now)
        pace = pace.slowed(now)
        assert limit * 0.05 * 0.999 <= pace.at_time(now) <= before * 1.001
        assert pace.at_time(now + 1e6) == limit
