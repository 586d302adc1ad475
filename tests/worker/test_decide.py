"""What follows from what: no I/O, the clock and chance given."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backing.ids import new_id
from backing.postgres.claims import Claimed, Ended, Fate, Pending, Result, Wishes
from mail.delivery import Outcome, RecipientResult, RetryPolicy
from mail.job import StoredBody
from mail.states import DeliveryState, State
from worker.decide import Answered, Case, Moment, conclude, ended, fate, must_be_stored, policy_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = RetryPolicy(waits=(60, 300, 600), jitter=0.0, unknown=120.0)
PLACE = StoredBody("bucket", "bodies/1")
DELIVERY, PROVIDER, RULE = new_id(), new_id(), new_id()


def claim(*pending: Pending, **changes: Any) -> Claimed:
    usual: dict[str, Any] = {
        "delivery_id": DELIVERY,
        "token": 7,
        "attempts": 0,
        "expires_at": NOW + timedelta(hours=48),
        "pending": pending or (Pending(0), Pending(1)),
    }
    return Claimed(**(usual | changes))


def case(*, age: float = 0, left: float = 172_800, policy: RetryPolicy = POLICY) -> Case:
    expires_at = NOW + timedelta(seconds=left)
    accepted_at = NOW - timedelta(seconds=age)
    return Case(claim(expires_at=expires_at), accepted_at, policy, Moment(NOW, random.Random(1)))


def answer(outcome: Outcome, **more: Any) -> RecipientResult:
    return RecipientResult(0, outcome, 250, "2.0.0", "words", **more)


@pytest.mark.requirement("FLOW-OUT-004")
@pytest.mark.parametrize(
    ("outcome", "state", "wait", "tries"),
    [
        (Outcome.ACCEPTED, State.ACCEPTED, None, 0),
        (Outcome.PERMANENT, State.FAILED, None, 0),
        (Outcome.MESSAGE_PERMANENT, State.FAILED, None, 0),
        (Outcome.TEMPORARY, State.DEFERRED, 60.0, 1),
        (Outcome.THROTTLED, State.DEFERRED, 60.0, 0),
        (Outcome.PROVIDER_DOWN, State.DEFERRED, 60.0, 0),
        (Outcome.MISCONFIGURED, State.DEFERRED, 60.0, 0),
        (Outcome.UNKNOWN, State.UNKNOWN, 120.0, 0),
    ],
)
def test_what_an_answer_means(outcome: Outcome, state: State, wait: float | None, tries: int) -> None:
    answered = Answered(answer(outcome, provider_message_id="x-1"), PROVIDER, RULE, "to@dev.example")
    assert fate(case(), Pending(0), answered) == Fate(
        n=0,
        state=state,
        code=250,
        enhanced="2.0.0",
        reply="words",
        tries=tries,
        wait=wait,
        provider_id=PROVIDER,
        provider_message_id="x-1",
        rule_id=RULE,
        redirected_to="to@dev.example",
    )


def test_doubt_lasts_as_long_as_the_providers_events_may_take() -> None:
    assert fate(case(), Pending(0), Answered(answer(Outcome.UNKNOWN), PROVIDER, evidence_seconds=5.0)).wait == 5.0


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.PROVIDER_DOWN, State.UNKNOWN),
        (Outcome.THROTTLED, State.UNKNOWN),
        (Outcome.MISCONFIGURED, State.UNKNOWN),
        (Outcome.TEMPORARY, State.DEFERRED),
        (Outcome.ACCEPTED, State.ACCEPTED),
    ],
)
def test_doubt_lasts_until_the_provider_has_taken_up_the_question(outcome: Outcome, state: State) -> None:
    pending = Pending(0, State.UNKNOWN, provider_id=PROVIDER)
    assert fate(case(), pending, Answered(answer(outcome))).state is state


@pytest.mark.parametrize(("tries", "wait"), [(0, 120.0), (1, 300.0), (2, 600.0), (9, 600.0)])
def test_what_stays_unknown_is_sent_again_ever_more_seldom(tries: int, wait: float) -> None:
    pending = Pending(0, State.UNKNOWN, tries, provider_id=PROVIDER)
    found = fate(case(), pending, Answered(answer(Outcome.UNKNOWN), PROVIDER))
    assert (found.state, found.tries, found.wait) == (State.UNKNOWN, tries + 1, wait)
    late = fate(case(left=59), pending, Answered(answer(Outcome.UNKNOWN), PROVIDER))
    assert (late.state, late.wait) == (State.EXPIRED, None)


@pytest.mark.parametrize(("tries", "wait"), [(0, 60.0), (1, 300.0), (2, 600.0), (9, 600.0)])
def test_waits_grow_with_the_tries_that_count(tries: int, wait: float) -> None:
    assert fate(case(), Pending(0, tries=tries), Answered(answer(Outcome.TEMPORARY))).wait == wait


@pytest.mark.parametrize(("age", "wait"), [(0, 60.0), (240, 60.0), (1200, 300.0), (86_400, 900.0)])
def test_mail_that_waits_for_a_provider_asks_the_more_seldom_the_older_it_is(age: float, wait: float) -> None:
    assert fate(case(age=age), Pending(0, tries=3), Answered(answer(Outcome.PROVIDER_DOWN))).wait == wait


@pytest.mark.parametrize(
    ("outcome", "asked", "wait"),
    [
        (Outcome.TEMPORARY, 30.0, 60.0),
        (Outcome.TEMPORARY, 900.0, 900.0),
        (Outcome.THROTTLED, 7200.0, 7200.0),
        (Outcome.THROTTLED, 200_000.0, 60.0),
    ],
)
def test_a_provider_is_left_alone_as_long_as_it_asks_while_the_mail_has_time(
    outcome: Outcome, asked: float, wait: float
) -> None:
    assert fate(case(), Pending(0), Answered(answer(outcome, retry_after=asked))).wait == wait


def test_what_would_wait_past_its_end_expires_after_a_last_attempt() -> None:
    last = fate(case(left=500), Pending(0, tries=2), Answered(answer(Outcome.TEMPORARY)))
    assert (last.state, last.wait) == (State.DEFERRED, 440.0)
    gone = fate(case(left=59), Pending(0), Answered(answer(Outcome.TEMPORARY)))
    assert (gone.state, gone.wait, gone.reply) == (State.EXPIRED, None, "words")


def test_an_account_may_have_a_schedule_of_its_own() -> None:
    assert policy_of(Wishes(retry_seconds=(5, 9)), POLICY) == RetryPolicy((5, 9), 0.0, 120.0)
    assert policy_of(Wishes(), POLICY) is POLICY


def test_the_answer_that_tells_most_stands_for_an_attempt() -> None:
    results = [
        RecipientResult(0, Outcome.ACCEPTED, 250, None, "taken", provider_message_id="x-1"),
        RecipientResult(1, Outcome.TEMPORARY, 451, "4.2.0", "later", retry_after=9.0),
        RecipientResult(2, Outcome.PERMANENT, 550, "5.1.1", "never"),
    ]
    assert ended(3, results) == Ended(3, "temporary", 451, "4.2.0", "later", 9.0, "x-1")


def stands(n: int, state: State, wait: float | None = None) -> Fate:
    return Fate(n=n, state=state, reply="so", wait=wait)


@pytest.mark.parametrize(
    ("fates", "pending", "state", "wait"),
    [
        ((stands(1, State.FAILED), stands(0, State.ACCEPTED)), (), DeliveryState.DONE, None),
        ((stands(0, State.ACCEPTED), stands(1, State.DEFERRED, 60.0)), (), DeliveryState.DEFERRED, 60.0),
        ((stands(0, State.UNKNOWN, 120.0), stands(1, State.DEFERRED, 60.0)), (), DeliveryState.UNKNOWN, 60.0),
        ((stands(0, State.HELD), stands(1, State.ACCEPTED)), (), DeliveryState.HELD, None),
        ((stands(0, State.ACCEPTED),), (Pending(1, State.DEFERRED, 1, 30.0),), DeliveryState.DEFERRED, 30.0),
        ((stands(0, State.ACCEPTED),), (Pending(1),), DeliveryState.DEFERRED, 0.0),
        ((stands(0, State.ACCEPTED),), (Pending(1, State.HELD),), DeliveryState.HELD, None),
    ],
)
def test_a_delivery_stands_as_its_recipients_do(
    fates: tuple[Fate, ...], pending: tuple[Pending, ...], state: DeliveryState, wait: float | None
) -> None:
    attempts = [Ended(1, "accepted", 250, None, "taken")]
    held = claim(*pending, *(Pending(each.n) for each in fates), stored=None)
    result = conclude(held, fates, attempts)
    assert result == Result(
        delivery_id=DELIVERY,
        token=7,
        state=state,
        wait=wait,
        fates=tuple(sorted(fates, key=lambda each: each.n)),
        ended=tuple(attempts),
    )
    assert must_be_stored(result) == (state is not DeliveryState.DONE)


def test_what_is_stored_already_need_not_be_again() -> None:
    assert not must_be_stored(conclude(claim(stored=PLACE), [], []))
