"""What a claim is for: which of its recipients are to be sent to now, which are settled unsent, which wait on.

Nothing here does anything; `worker.courier` and `worker.consumer` carry it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from backing.postgres.claims import Claimed, Fate, Pending
from mail.delivery import OnUnknown
from mail.states import State

# Clocks of several machines; what is due within it is due.
_SLACK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Sorted:
    """The recipients of a claim.

    Attributes:
        ready: to be sent to by the account's rules.
        again: whose last attempt nobody knows the outcome of, to be sent to through the same provider again.
        settled: that need no sending any more.
        waiting: that are not due yet.
    """

    ready: tuple[Pending, ...]
    again: tuple[Pending, ...]
    settled: tuple[Fate, ...]
    waiting: tuple[Pending, ...]


_EXPIRED: Final = "expired before it could be delivered"
_DOUBT: Final[Mapping[OnUnknown, tuple[State, str]]] = {
    OnUnknown.HOLD: (State.HELD, "nobody knows whether an attempt reached it; held, as the account wants"),
    OnUnknown.DROP: (State.FAILED, "nobody knows whether an attempt reached it; not sent again, as the account wants"),
}


def sort(claim: Claimed, now: datetime) -> Sorted:
    """Sort the recipients of a claim."""
    pending = [each for each in claim.pending if each.state is not State.HELD]
    if now >= claim.expires_at:
        return Sorted((), (), tuple(unasked(each, State.EXPIRED, _EXPIRED, "4.4.7") for each in pending), ())
    ready: list[Pending] = []
    again: list[Pending] = []
    settled: list[Fate] = []
    waiting: list[Pending] = []
    for each in pending:
        if each.wait > _SLACK_SECONDS:
            waiting.append(each)
        elif each.state is State.UNKNOWN and (doubt := _DOUBT.get(claim.wishes.on_unknown)):
            settled.append(unasked(each, *doubt))
        elif each.state is State.UNKNOWN:
            again.append(each)
        elif each.suppressed:
            text = f"the account does not send to this address: {each.suppressed}"
            settled.append(unasked(each, State.SUPPRESSED, text, "5.7.1"))
        else:
            ready.append(each)
    return Sorted(tuple(ready), tuple(again), tuple(settled), tuple(waiting))


def unasked(pending: Pending, state: State, why: str, enhanced: str | None = None, rule_id: UUID | None = None) -> Fate:
    """Settle a recipient without asking a provider."""
    return Fate(
        n=pending.n, state=state, enhanced=enhanced, reply=why, tries=pending.tries, asked=False, rule_id=rule_id
    )
