"""What became of a delivery: outcomes, states, what may follow what, and when to try again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Outcome(StrEnum):
    """What a provider's answer means for one recipient; the first three are the recipient's fate."""

    ACCEPTED = "accepted"
    PERMANENT = "permanent"
    TEMPORARY = "temporary"
    THROTTLED = "throttled"
    PROVIDER_DOWN = "provider_down"
    MISCONFIGURED = "misconfigured"
    UNKNOWN = "unknown"  # the request may have been taken


class State(StrEnum):
    """Where a recipient stands."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    FAILED = "failed"
    EXPIRED = "expired"
    HELD = "held"


# State after an outcome, while time is left. Provider trouble never fails a recipient.
AFTER: dict[Outcome, State] = {
    Outcome.ACCEPTED: State.ACCEPTED,
    Outcome.PERMANENT: State.FAILED,
    Outcome.TEMPORARY: State.DEFERRED,
    Outcome.THROTTLED: State.DEFERRED,
    Outcome.PROVIDER_DOWN: State.DEFERRED,
    Outcome.MISCONFIGURED: State.DEFERRED,
    Outcome.UNKNOWN: State.UNKNOWN,
}

# What may follow what. Terminal states have no successor.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENDING, State.EXPIRED}),
    State.SENDING: frozenset({State.ACCEPTED, State.FAILED, State.DEFERRED, State.UNKNOWN, State.EXPIRED}),
    State.DEFERRED: frozenset({State.SENDING, State.EXPIRED}),
    State.UNKNOWN: frozenset({State.SENDING, State.HELD, State.FAILED, State.ACCEPTED, State.EXPIRED}),
    State.HELD: frozenset({State.SENDING, State.FAILED}),
    State.ACCEPTED: frozenset(),
    State.FAILED: frozenset(),
    State.EXPIRED: frozenset(),
}
TERMINAL = frozenset(state for state, successors in TRANSITIONS.items() if not successors)

# Only these use up one of a recipient's attempts.
COUNTED = frozenset({Outcome.TEMPORARY})


class OnUnknown(StrEnum):
    """What an account wants done with an outcome that stays unknown."""

    RESEND = "resend"
    HOLD = "hold"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What one attempt meant for one recipient.

    Attributes:
        n: the recipient's number in the envelope, from 0.
        outcome: the class of the answer.
        code: the SMTP reply code, or None where there was no reply.
        enhanced: the enhanced status code, or None.
        text: the peer's words, or ours where it said none; at most 500 characters are kept.
    """

    n: int
    outcome: Outcome
    code: int | None
    enhanced: str | None
    text: str


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again.

    Attributes:
        waits: seconds before the second, third, ... attempt; the last one repeats.
        jitter: share by which a wait varies, so that a burst does not come back as a burst.
        unknown: seconds before an unknown outcome is acted on.
    """

    waits: Sequence[int]
    jitter: float = 0.2
    unknown: float = 120.0


def next_attempt(
    policy: RetryPolicy, attempts: int, now: datetime, expires_at: datetime, chance: random.Random
) -> datetime | None:
    """When the next attempt is due after `attempts` counted ones, or None when no time is left for one.

    A wait that would outlast the message is cut short, for a last attempt before it expires.
    """
    wait = policy.waits[min(max(attempts, 1), len(policy.waits)) - 1]
    due = now + timedelta(seconds=wait * (1 + chance.uniform(-policy.jitter, policy.jitter)))
    if due < expires_at:
        return due
    shortest = timedelta(seconds=policy.waits[0])
    last = expires_at - shortest
    return last if last >= now + shortest else None


def settle(outcome: Outcome, due: datetime | None) -> State:
    """State of a recipient after an outcome; what would wait, but may not, expires."""
    state = AFTER[outcome]
    return State.EXPIRED if state is State.DEFERRED and due is None else state
