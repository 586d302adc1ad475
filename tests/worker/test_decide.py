"""What follows from what: no I/O, the clock and chance given."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backing.ids import new_id
from backing.postgres.deliveries import Action, Claimed, Fate, Result
from mail.delivery import Outcome, RecipientResult, RetryPolicy, State
from mail.job import StoredBody
from worker.decide import Moment, after_attempt, must_be_stored, without_attempt

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = RetryPolicy(waits=(60, 300, 600), jitter=0.0, unknown=120.0)
MOMENT = Moment(NOW, random.Random(1))
PLACE = StoredBody("bucket", "bodies/1")
DELIVERY = new_id()


def claim(**changes: Any) -> Claimed:
    usual: dict[str, Any] = {
        "delivery_id": DELIVERY,
        "token": 7,
        "action": Action.SEND,
        "lost": False,
        "pending": ((0, State.QUEUED), (1, State.QUEUED)),
        "attempts": 1,
        "tries": 0,
        "expires_at": NOW + timedelta(hours=48),
        "stored": None,
        "provider": None,
    }
    return Claimed(**(usual | changes))


def answers(*outcomes: Outcome) -> list[RecipientResult]:
    return [RecipientResult(n, outcome, 250 + n, None, outcome) for n, outcome in enumerate(outcomes)]


def fates(*states: State, outcomes: tuple[Outcome, ...]) -> tuple[Fate, ...]:
    return tuple(Fate(n, state, 250 + n, None, outcomes[n]) for n, state in enumerate(states))


A, P, T, U = Outcome.ACCEPTED, Outcome.PERMANENT, Outcome.TEMPORARY, Outcome.UNKNOWN
DOWN, WRONG, FULL = Outcome.PROVIDER_DOWN, Outcome.MISCONFIGURED, Outcome.THROTTLED


@pytest.mark.parametrize(
    ("outcomes", "states", "state", "wait", "tries", "telling"),
    [
        ((A, A), (State.ACCEPTED, State.ACCEPTED), "done", None, 0, 0),
        ((A, P), (State.ACCEPTED, State.FAILED), "done", None, 0, 1),
        ((A, T), (State.ACCEPTED, State.DEFERRED), "deferred", 60.0, 1, 1),
        ((T, P), (State.DEFERRED, State.FAILED), "deferred", 60.0, 1, 0),
        ((DOWN, DOWN), (State.DEFERRED, State.DEFERRED), "deferred", 60.0, 0, 0),
        ((WRONG, A), (State.DEFERRED, State.ACCEPTED), "deferred", 60.0, 0, 0),
        ((FULL, FULL), (State.DEFERRED, State.DEFERRED), "deferred", 60.0, 0, 0),
        ((U, A), (State.UNKNOWN, State.ACCEPTED), "unknown", 120.0, 0, 0),
        ((T, U), (State.DEFERRED, State.UNKNOWN), "unknown", 120.0, 1, 1),
    ],
)
def test_what_an_attempt_means(
    outcomes: tuple[Outcome, ...], states: tuple[State, ...], state: str, wait: float | None, tries: int, telling: int
) -> None:
    result = after_attempt(claim(), answers(*outcomes), POLICY, MOMENT)
    assert result == Result(
        delivery_id=DELIVERY,
        token=7,
        state=state,
        wait=wait,
        tries=tries,
        fates=fates(*states, outcomes=outcomes),
        outcome=outcomes[telling],
        code=250 + telling,
        reply=outcomes[telling],
    )
    assert must_be_stored(result) == (state != "done")


@pytest.mark.parametrize(("tries", "wait"), [(0, 60.0), (1, 300.0), (2, 600.0), (9, 600.0)])
def test_waits_grow_with_the_tries_that_count(tries: int, wait: float) -> None:
    assert after_attempt(claim(tries=tries), answers(T, T), POLICY, MOMENT).wait == wait
    assert after_attempt(claim(tries=tries), answers(DOWN, DOWN), POLICY, MOMENT).tries == tries


def test_what_would_wait_past_its_end_expires() -> None:
    soon = claim(expires_at=NOW + timedelta(seconds=59))
    result = after_attempt(soon, answers(A, T), POLICY, MOMENT)
    assert (result.state, result.wait) == ("done", None)
    assert [fate.state for fate in result.fates] == [State.ACCEPTED, State.EXPIRED]


@pytest.mark.parametrize(
    ("action", "lost", "expected", "state"),
    [
        (Action.EXPIRE, False, {0: State.EXPIRED, 1: State.EXPIRED}, "done"),
        (Action.HOLD, True, {0: State.HELD, 1: State.HELD}, "held"),
        (Action.HOLD, False, {0: State.HELD}, "deferred"),
        (Action.DROP, True, {0: State.FAILED, 1: State.FAILED}, "done"),
        (Action.DROP, False, {0: State.FAILED}, "deferred"),
    ],
)
def test_what_is_settled_without_an_attempt(
    action: Action,
    lost: bool,  # noqa: FBT001 - a table's column
    expected: dict[int, State],
    state: str,
) -> None:
    pending = ((0, State.UNKNOWN), (1, State.DEFERRED))
    result = without_attempt(claim(action=action, lost=lost, pending=pending, stored=PLACE), POLICY, MOMENT)
    assert {fate.n: fate.state for fate in result.fates} == expected
    assert (result.state, result.wait) == (state, 60.0 if state == "deferred" else None)
    assert (result.outcome, result.tries, result.body) == (None, 0, PLACE)
    assert not must_be_stored(result)


def test_a_held_message_needs_its_body() -> None:
    assert must_be_stored(without_attempt(claim(action=Action.HOLD, lost=True), POLICY, MOMENT))


def test_who_waits_beside_a_held_one_may_have_no_time_left() -> None:
    pending, end = ((0, State.UNKNOWN), (1, State.DEFERRED)), NOW + timedelta(seconds=30)
    result = without_attempt(claim(action=Action.HOLD, pending=pending, expires_at=end), POLICY, MOMENT)
    assert {fate.n: fate.state for fate in result.fates} == {0: State.HELD, 1: State.EXPIRED}
    assert result.state == "held"
