"""Events move a recipient only forward, in whatever order they come."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.events.effects import Effect, effect
from mail.events.event import STATE_AFTER, Kind
from mail.states import SETTLED, TRANSITIONS, State


def after(state: State, *kinds: Kind) -> State:
    for kind in kinds:
        if effect(state, STATE_AFTER[kind], in_hand=False, asked_last=True) is Effect.APPLIED:
            assert STATE_AFTER[kind] in TRANSITIONS[state]
            state = STATE_AFTER[kind]
    return state


@given(kinds=st.lists(st.sampled_from(Kind), min_size=1, max_size=5), begin=st.sampled_from(["unknown", "accepted"]))
def test_any_order_of_events_ends_in_the_same_state(kinds: list[Kind], begin: str) -> None:
    ends = {after(State(begin), *order, *order) for order in permutations(kinds)}
    rank = [State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.COMPLAINED]
    assert ends == {max((STATE_AFTER[kind] for kind in kinds), key=rank.index)}


@pytest.mark.parametrize("state", sorted(set(State) - SETTLED))
@pytest.mark.parametrize("kind", Kind)
def test_what_a_worker_has_in_hand_waits(state: State, kind: Kind) -> None:
    assert effect(state, STATE_AFTER[kind], in_hand=True, asked_last=True) is Effect.WAITING


@pytest.mark.parametrize("state", [State.QUEUED, State.DEFERRED])
def test_what_is_not_known_to_be_sent_waits(state: State) -> None:
    assert effect(state, State.DELIVERED, in_hand=False, asked_last=True) is Effect.WAITING


@pytest.mark.parametrize("state", sorted(SETTLED))
@pytest.mark.parametrize("kind", Kind)
def test_a_provider_that_was_not_asked_last_changes_nothing(state: State, kind: Kind) -> None:
    assert effect(state, STATE_AFTER[kind], in_hand=False, asked_last=False) is Effect.STALE


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.SUPPRESSED, State.DISCARDED, State.CANCELLED])
def test_what_has_ended_otherwise_stays_so(state: State) -> None:
    assert {effect(state, STATE_AFTER[kind], in_hand=False, asked_last=True) for kind in Kind} == {Effect.STALE}
