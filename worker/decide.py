"""What follows from an attempt: how each recipient stands, when the next attempt is due, what must be kept till then.

Nothing here does anything; `worker.deliver` and `worker.consumer` carry it out.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backing.postgres.deliveries import Action, Claimed, Fate, Result
from mail.delivery import COUNTED, Outcome, RecipientResult, RetryPolicy, State, next_attempt, settle

DONE, DEFERRED, UNKNOWN, HELD = "done", "deferred", "unknown", "held"

# The outcome that tells most about an attempt stands for it in the log.
_TELLING = (
    Outcome.UNKNOWN,
    Outcome.MISCONFIGURED,
    Outcome.PROVIDER_DOWN,
    Outcome.THROTTLED,
    Outcome.TEMPORARY,
    Outcome.PERMANENT,
    Outcome.ACCEPTED,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is taken, and the chance that spreads retries."""

    now: datetime
    chance: random.Random


def after_attempt(claim: Claimed, results: Sequence[RecipientResult], policy: RetryPolicy, moment: Moment) -> Result:
    """Decide what an attempt's results mean for the delivery and its recipients."""
    tries = claim.tries + any(result.outcome in COUNTED for result in results)
    due = next_attempt(policy, tries, moment.now, claim.expires_at, moment.chance)
    fates = tuple(_fate(result, due) for result in results)
    telling = min(results, key=lambda result: _TELLING.index(result.outcome))
    state = _delivery_state(fates)
    return Result(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=state,
        wait=_wait(state, due, policy, moment.now),
        tries=tries,
        fates=fates,
        body=claim.stored,
        outcome=telling.outcome,
        code=telling.code,
        enhanced=telling.enhanced,
        reply=telling.text,
    )


def without_attempt(claim: Claimed, policy: RetryPolicy, moment: Moment) -> Result:
    """Decide what becomes of a claim for which no provider is asked: held, dropped or expired."""
    fates = tuple(fate for n, state in claim.pending if (fate := _settled(claim, n, state)) is not None)
    waiting = len(fates) < len(claim.pending)
    due = next_attempt(policy, claim.tries, moment.now, claim.expires_at, moment.chance) if waiting else None
    state = DEFERRED if due else HELD if claim.action is Action.HOLD else DONE
    if waiting and due is None:  # those that merely waited have no time left
        fates += tuple(
            Fate(n, State.EXPIRED, None, None, _WHY[Action.EXPIRE])
            for n, _ in claim.pending
            if n not in {fate.n for fate in fates}
        )
    return Result(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=state,
        wait=_wait(state, due, policy, moment.now),
        tries=claim.tries,
        fates=fates,
        body=claim.stored,
    )


def must_be_stored(result: Result) -> bool:
    """Whether the body has to outlive the queue message, and does not yet."""
    return result.state != DONE and result.body is None


_WHY = {
    Action.HOLD: "nobody knows whether an attempt reached it; held, as the account wants",
    Action.DROP: "nobody knows whether an attempt reached it; not sent again, as the account wants",
    Action.EXPIRE: "expired before it could be delivered",
}
_INTO = {Action.HOLD: State.HELD, Action.DROP: State.FAILED, Action.EXPIRE: State.EXPIRED}


def _settled(claim: Claimed, n: int, state: State) -> Fate | None:
    """Hold and drop concern those in doubt: all of them, if a worker was lost while it was sending."""
    if claim.action is not Action.EXPIRE and not claim.lost and state is not State.UNKNOWN:
        return None
    return Fate(n, _INTO[claim.action], None, None, _WHY[claim.action])


def _fate(result: RecipientResult, due: datetime | None) -> Fate:
    return Fate(result.n, settle(result.outcome, due), result.code, result.enhanced, result.text)


def _delivery_state(fates: Sequence[Fate]) -> str:
    states = {fate.state for fate in fates}
    return UNKNOWN if State.UNKNOWN in states else DEFERRED if State.DEFERRED in states else DONE


def _wait(state: str, due: datetime | None, policy: RetryPolicy, now: datetime) -> float | None:
    if state == UNKNOWN:
        return policy.unknown
    return max((due - now).total_seconds(), 0.0) if state == DEFERRED and due else None
