"""What became of a delivery: outcomes, states, what may follow what, and when to try again."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from mail.states import State


class Outcome(StrEnum):
    """What a provider's answer means for one recipient; the first four are the recipient's fate.

    Trouble of a provider never fails a recipient, and uses up none of its attempts.
    """

    ACCEPTED = "accepted"
    PERMANENT = "permanent"  # this recipient, for good
    TEMPORARY = "temporary"
    MESSAGE_PERMANENT = "message_permanent"  # this content, at this provider
    THROTTLED = "throttled"
    PROVIDER_DOWN = "provider_down"
    MISCONFIGURED = "misconfigured"  # a key, a domain, a pause: an operator mends it, and no mail bounces
    UNKNOWN = "unknown"  # the request may have been taken


class Scope(StrEnum):
    """What a provider that throttles us counts by."""

    RATE = "rate"
    DAY = "day"


# State after an outcome, while time is left.
AFTER: dict[Outcome, State] = {
    Outcome.ACCEPTED: State.ACCEPTED,
    Outcome.PERMANENT: State.FAILED,
    Outcome.TEMPORARY: State.DEFERRED,
    Outcome.MESSAGE_PERMANENT: State.FAILED,
    Outcome.THROTTLED: State.DEFERRED,
    Outcome.PROVIDER_DOWN: State.DEFERRED,
    Outcome.MISCONFIGURED: State.DEFERRED,
    Outcome.UNKNOWN: State.UNKNOWN,
}

# Only these use up one of a recipient's attempts.
COUNTED = frozenset({Outcome.TEMPORARY})
# The provider's trouble, after which another one may be asked at once.
PROVIDER_TROUBLE = frozenset({Outcome.THROTTLED, Outcome.PROVIDER_DOWN, Outcome.MISCONFIGURED})


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
        retry_after: seconds that the peer wants to be left alone, or None where it said nothing.
        scope: what a throttling peer counts by, or None.
        provider_message_id: how the provider names the message, or None.
    """

    n: int
    outcome: Outcome
    code: int | None
    enhanced: str | None
    text: str
    retry_after: float | None = None
    scope: Scope | None = None
    provider_message_id: str | None = None


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
