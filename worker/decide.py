"""What follows from attempts: how each recipient stands, when it is due again, what must be kept till then.

Nothing here does anything; `worker.courier` and `worker.consumer` carry it out.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from backing.postgres.claims import Claimed, Ended, Fate, Pending, Result, Wishes
from mail.delivery import AFTER, COUNTED, PROVIDER_TROUBLE, Outcome, RecipientResult, RetryPolicy, next_attempt
from mail.states import DeliveryState, State

# The outcome that tells most about an attempt stands for it in the log.
_TELLING: Final = (
    Outcome.UNKNOWN,
    Outcome.MISCONFIGURED,
    Outcome.PROVIDER_DOWN,
    Outcome.THROTTLED,
    Outcome.TEMPORARY,
    Outcome.PERMANENT,
    Outcome.MESSAGE_PERMANENT,
    Outcome.ACCEPTED,
)
# Mail that waits for a provider is tried the more seldom the longer it does.
_TROUBLE_SHARE: Final = 0.25
_TROUBLE_LONGEST_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is taken, and the chance that spreads retries."""

    now: datetime
    chance: random.Random


@dataclass(frozen=True, slots=True)
class Answered:
    """What the last of the providers that were asked said for a recipient.

    Attributes:
        provider_id: which one it was; None where none could be asked.
        evidence_seconds: how long the provider's events may take to tell of it, if its outcome is unknown.
    """

    result: RecipientResult
    provider_id: UUID | None = None
    rule_id: UUID | None = None
    redirected_to: str | None = None
    evidence_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision about one claim needs to know."""

    claim: Claimed
    accepted_at: datetime
    policy: RetryPolicy
    moment: Moment


def policy_of(wishes: Wishes, usual: RetryPolicy) -> RetryPolicy:
    """Give the schedule of an account: its own, or the worker's."""
    return replace(usual, waits=wishes.retry_seconds) if wishes.retry_seconds else usual


def fate(case: Case, pending: Pending, answered: Answered) -> Fate:
    """Decide how a recipient stands after an answer."""
    result = answered.result
    doubted = pending.state is State.UNKNOWN
    tries = pending.tries + (result.outcome in COUNTED or (doubted and result.outcome is Outcome.UNKNOWN))
    state, wait = AFTER[result.outcome], None
    if state in {State.DEFERRED, State.UNKNOWN}:
        wait = _wait(case, tries, answered, doubted=doubted)
        # As long as the provider has not taken up the question, nobody knows more than before.
        doubt = state is State.UNKNOWN or (doubted and result.outcome in PROVIDER_TROUBLE)
        state = State.EXPIRED if wait is None else State.UNKNOWN if doubt else State.DEFERRED
    return Fate(
        n=pending.n,
        state=state,
        code=result.code,
        enhanced=result.enhanced,
        reply=result.text,
        tries=tries,
        wait=wait,
        provider_id=answered.provider_id,
        provider_message_id=result.provider_message_id,
        rule_id=answered.rule_id,
        redirected_to=answered.redirected_to,
    )


def _wait(case: Case, tries: int, answered: Answered, *, doubted: bool) -> float | None:
    """Seconds until the next attempt, or None where there is none; what the provider asks for is the least."""
    result, policy = answered.result, case.policy
    if result.outcome is Outcome.UNKNOWN:
        evidence = policy.unknown if answered.evidence_seconds is None else answered.evidence_seconds
        if not doubted:
            return evidence
        # Sent again ever more seldom, or a peer that takes mail and says nothing would get hundreds of copies.
        wait = _scheduled(case, policy, tries)
        return None if wait is None else max(wait, evidence)
    if result.outcome in COUNTED:
        wait = _scheduled(case, policy, tries)
    else:
        age = (case.moment.now - case.accepted_at).total_seconds()
        longer = max(policy.waits[0], round(min(age * _TROUBLE_SHARE, _TROUBLE_LONGEST_SECONDS)))
        wait = _scheduled(case, replace(policy, waits=(policy.waits[0], longer)), 2)
    if wait is None or result.retry_after is None:
        return wait
    left = (case.claim.expires_at - case.moment.now).total_seconds()
    return max(wait, result.retry_after) if result.retry_after < left else wait


def _scheduled(case: Case, policy: RetryPolicy, tries: int) -> float | None:
    now = case.moment.now
    due = next_attempt(policy, tries, now, case.claim.expires_at, case.moment.chance)
    return None if due is None else (due - now).total_seconds()


def ended(n: int, results: Sequence[RecipientResult]) -> Ended:
    """Tell what came of an attempt by the answer that shows it best."""
    telling = min(results, key=lambda result: _TELLING.index(result.outcome))
    named = next((result.provider_message_id for result in results if result.provider_message_id), None)
    return Ended(n, telling.outcome, telling.code, telling.enhanced, telling.text, telling.retry_after, named)


def conclude(claim: Claimed, fates: Iterable[Fate], attempts: Sequence[Ended]) -> Result:
    """Decide how the delivery stands once its recipients do; whom nothing is said of waits as before."""
    fates = tuple(sorted(fates, key=lambda each: each.n))
    told = {each.n for each in fates}
    rest = [each for each in claim.pending if each.n not in told]
    states = {each.state for each in fates} | {each.state for each in rest}
    waits = [each.wait for each in fates if each.wait is not None]
    waits += [max(each.wait, 0.0) for each in rest if each.state is not State.HELD]
    return Result(
        delivery_id=claim.delivery_id,
        token=claim.token,
        state=_delivery_state(states),
        wait=min(waits, default=None),
        fates=fates,
        ended=tuple(attempts),
        body=claim.stored,
    )


def _delivery_state(states: set[State]) -> DeliveryState:
    if State.UNKNOWN in states:
        return DeliveryState.UNKNOWN
    if states & {State.DEFERRED, State.QUEUED}:
        return DeliveryState.DEFERRED
    return DeliveryState.HELD if State.HELD in states else DeliveryState.DONE


def must_be_stored(result: Result) -> bool:
    """Whether the body has to outlive the queue message, and does not yet."""
    return result.state is not DeliveryState.DONE and result.body is None
