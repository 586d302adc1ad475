"""When a provider is left alone: a table of what follows what, and histories of it."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.breaker import PROBE_SECONDS, WAITS, Breaker, Cause, Condition, Event, event_of
from mail.delivery import Outcome, RecipientResult, Scope

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
DAY_ENDS = NOW + 16 * 3600
TROUBLE = {Cause.DOWN, Cause.UNKNOWN}
AT_ONCE = {Cause.PAUSED, Cause.MISCONFIGURED, Cause.EXHAUSTED}


def result(outcome: Outcome, retry_after: float | None = None, scope: Scope | None = None) -> RecipientResult:
    return RecipientResult(0, outcome, None, None, "", retry_after, scope)


def after(breaker: Breaker, *causes: Cause, now: float = NOW, every: float = 0.0) -> Breaker:
    for n, cause in enumerate(causes):
        breaker = breaker.after(Event(cause, version=1), now + n * every)
    return breaker


def opened(cause: Cause = Cause.DOWN) -> Breaker:
    return Breaker(Condition.OPEN, NOW - 10, NOW, 10, cause, 1)


@pytest.mark.parametrize(("condition", "cause"), list(product(Condition, Cause)))
def test_what_follows_what(condition: Condition, cause: Cause) -> None:
    closed, half_open = Breaker(), opened().probing(NOW)
    before = {Condition.CLOSED: closed, Condition.OPEN: opened(), Condition.HALF_OPEN: half_open}[condition]
    expected = {
        Condition.CLOSED: Condition.OPEN if cause in AT_ONCE else Condition.CLOSED,
        Condition.OPEN: Condition.OPEN,
        Condition.HALF_OPEN: Condition.CLOSED if cause in {Cause.ANSWERED, Cause.THROTTLED} else Condition.OPEN,
    }[condition]
    came = before.after(Event(cause), NOW)
    assert came.condition is expected
    if condition is Condition.OPEN and cause not in AT_ONCE:
        assert came is before, "an answer to what was sent before it opened changes nothing"


def test_five_times_down_in_a_row_within_half_a_minute_open_it() -> None:
    down = [Cause.DOWN] * 5
    assert after(Breaker(), *down[:4]).condition is Condition.CLOSED
    assert after(Breaker(), *down, every=7) == Breaker(Condition.OPEN, NOW + 28, NOW + 38, 10, Cause.DOWN, 1)
    assert after(Breaker(), *down, every=8).condition is Condition.CLOSED
    assert after(Breaker(), *down[:4], Cause.ANSWERED, *down[:4]).condition is Condition.CLOSED


@pytest.mark.parametrize("cause", sorted(TROUBLE))
def test_half_of_twenty_attempts_in_trouble_open_it(cause: Cause) -> None:
    pair = [Cause.ANSWERED, cause]
    assert after(Breaker(), *pair * 9, Cause.ANSWERED).condition is Condition.CLOSED
    assert after(Breaker(), *pair * 10).condition is Condition.OPEN
    assert after(Breaker(), *pair * 9, Cause.ANSWERED, Cause.ANSWERED).condition is Condition.CLOSED
    assert after(Breaker(), *pair * 10, every=2).condition is Condition.CLOSED, "too slow to be of one window"


def test_few_failures_among_many_attempts_are_nothing() -> None:
    assert after(Breaker(), *([Cause.ANSWERED] * 99 + [Cause.DOWN]) * 10).condition is Condition.CLOSED


@pytest.mark.parametrize(
    ("event", "until"),
    [
        (Event(Cause.MISCONFIGURED, version=1), NOW + 900),
        (Event(Cause.MISCONFIGURED, 5), NOW + 900),
        (Event(Cause.PAUSED), NOW + 120),
        (Event(Cause.EXHAUSTED), DAY_ENDS),
        (Event(Cause.EXHAUSTED, 3600), NOW + 3600),
        (Event(Cause.EXHAUSTED, 1e9), NOW + 86_400),
    ],
)
def test_how_long_what_opens_it_at_once_keeps_it_open(event: Event, until: float) -> None:
    breaker = Breaker().after(event, NOW)
    assert breaker == Breaker(Condition.OPEN, NOW, until, until - NOW, event.cause, event.version)
    assert (breaker.may_probe(until - 0.1), breaker.may_probe(until)) == (False, True)


def test_what_is_misconfigured_is_tried_again_with_its_next_version() -> None:
    breaker = Breaker().after(Event(Cause.MISCONFIGURED, version=3), NOW)
    assert breaker.for_version(3, NOW + 1) is breaker
    assert breaker.for_version(4, NOW + 1) == Breaker(since=NOW + 1, began=NOW + 1)
    down = opened()
    assert down.for_version(4, NOW + 1) is down


def test_each_failed_probe_doubles_the_wait_up_to_five_minutes() -> None:
    breaker, waits = opened(), []
    for _ in range(7):
        breaker = breaker.probing(breaker.until).after(Event(Cause.DOWN), breaker.until)
        waits.append(breaker.wait)
    assert waits == [20, 40, 80, 160, 300, 300, 300]
    assert after(breaker.probing(NOW), Cause.ANSWERED) == Breaker(since=NOW, began=NOW)


def test_one_probe_at_a_time_and_one_that_is_lost_is_given_up() -> None:
    probing = opened().probing(NOW)
    assert probing.may_probe(NOW + PROBE_SECONDS - 1) is False
    assert probing.may_probe(NOW + PROBE_SECONDS) is True
    assert probing.put_off(NOW + 2) == opened()._replace(until=NOW + 2)


@pytest.mark.parametrize(
    ("results", "event"),
    [
        ([result(Outcome.ACCEPTED)], Event(Cause.ANSWERED, version=7)),
        ([result(Outcome.TEMPORARY, 60)], Event(Cause.ANSWERED, 60, 7)),
        ([result(Outcome.THROTTLED, 5, Scope.RATE)], Event(Cause.THROTTLED, 5, 7)),
        ([result(Outcome.THROTTLED, None, Scope.DAY)], Event(Cause.EXHAUSTED, version=7)),
        ([result(Outcome.PROVIDER_DOWN, 30), result(Outcome.PROVIDER_DOWN, 60)], Event(Cause.DOWN, 60, 7)),
        ([result(Outcome.PROVIDER_DOWN, 30), result(Outcome.PERMANENT)], Event(Cause.ANSWERED, version=7)),
        ([result(Outcome.UNKNOWN), result(Outcome.PROVIDER_DOWN)], Event(Cause.DOWN, version=7)),
        ([result(Outcome.ACCEPTED), result(Outcome.MISCONFIGURED)], Event(Cause.MISCONFIGURED, version=7)),
        ([], Event(Cause.UNKNOWN, version=7)),
    ],
)
def test_what_an_attempt_says_about_its_provider(results: list[RecipientResult], event: Event) -> None:
    assert event_of(results, 7) == event


@given(st.lists(st.tuples(st.sampled_from(Cause), st.floats(0, 60), st.booleans()), max_size=80))
def test_a_breaker_always_comes_to_a_probe_and_a_good_probe_closes_it(history: list[tuple[Cause, float, bool]]) -> None:
    breaker, now = Breaker(), NOW
    for cause, wait, probe in history:
        now += wait
        if probe and breaker.may_probe(now):
            breaker = breaker.probing(now)
        breaker = breaker.after(Event(cause), now)
        waits = WAITS.get(breaker.cause) if breaker.cause else None
        longest = waits.longest if waits else 86_400
        assert breaker.condition is Condition.CLOSED or breaker.until <= now + max(longest, PROBE_SECONDS)
    if breaker.condition is not Condition.CLOSED:
        breaker = breaker.probing(breaker.until).after(Event(Cause.ANSWERED), breaker.until)
    assert breaker.condition is Condition.CLOSED
