"""What a claim is for: no I/O, the clock given."""

from datetime import UTC, datetime, timedelta

import pytest

from backing.ids import new_id
from backing.postgres.claims import Claimed, Fate, Pending, Wishes
from mail.delivery import OnUnknown
from mail.states import SETTLED, TRANSITIONS, State
from worker.sort import Sorted, sort

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROVIDER = new_id()


def claim(*pending: Pending, on_unknown: OnUnknown = OnUnknown.RESEND, left: float = 3600) -> Claimed:
    return Claimed(
        delivery_id=new_id(),
        token=1,
        attempts=0,
        expires_at=NOW + timedelta(seconds=left),
        pending=pending,
        wishes=Wishes(on_unknown),
    )


FRESH, DUE, LATER = Pending(0), Pending(1, State.DEFERRED, 2, -5.0), Pending(2, State.DEFERRED, 1, 60.0)
DOUBT = Pending(3, State.UNKNOWN, 0, 0.0, PROVIDER)
DOUBT_LATER = Pending(4, State.UNKNOWN, 0, 60.0, PROVIDER)
BARRED, HELD = Pending(5, suppressed="complaint"), Pending(6, State.HELD)
DOUBT_BARRED = Pending(7, State.UNKNOWN, 0, 0.0, PROVIDER, "bounce")


def test_recipients_are_sorted_by_what_can_be_done_for_them() -> None:
    assert sort(claim(FRESH, DUE, LATER, DOUBT, DOUBT_LATER, BARRED, HELD, DOUBT_BARRED), NOW) == Sorted(
        ready=(FRESH, DUE),
        again=(DOUBT, DOUBT_BARRED),
        settled=(
            Fate(
                n=5,
                state=State.SUPPRESSED,
                enhanced="5.7.1",
                reply="the account does not send to this address: complaint",
                asked=False,
            ),
        ),
        waiting=(LATER, DOUBT_LATER),
    )


@pytest.mark.parametrize(
    ("policy", "state", "why"),
    [
        (OnUnknown.HOLD, State.HELD, "nobody knows whether an attempt reached it; held, as the account wants"),
        (
            OnUnknown.DROP,
            State.FAILED,
            "nobody knows whether an attempt reached it; not sent again, as the account wants",
        ),
    ],
)
def test_the_account_says_what_follows_doubt(policy: OnUnknown, state: State, why: str) -> None:
    assert sort(claim(DOUBT, DOUBT_LATER, FRESH, on_unknown=policy), NOW) == Sorted(
        ready=(FRESH,),
        again=(),
        settled=(Fate(n=3, state=state, reply=why, asked=False),),
        waiting=(DOUBT_LATER,),
    )


def test_what_has_expired_is_settled_whatever_it_waited_for_but_not_what_is_held() -> None:
    found = sort(claim(FRESH, LATER, DOUBT, HELD, left=0), NOW)
    assert [(each.n, each.state, each.enhanced) for each in found.settled] == [
        (n, State.EXPIRED, "4.4.7") for n in (0, 2, 3)
    ]
    assert (found.ready, found.again, found.waiting) == ((), (), ())


@pytest.mark.parametrize("policy", list(OnUnknown))
@pytest.mark.parametrize("left", [0.0, 60.0])
def test_what_is_settled_may_follow_what_it_was(policy: OnUnknown, left: float) -> None:
    pending = (FRESH, DUE, LATER, DOUBT, DOUBT_LATER, BARRED, HELD, DOUBT_BARRED)
    before = {each.n: each.state for each in pending}
    for fate in sort(claim(*pending, on_unknown=policy, left=left), NOW).settled:
        assert fate.state in TRANSITIONS[before[fate.n]]
        assert fate.state in SETTLED | {State.HELD}
