"""What an event changes, given how its recipient stands."""

from enum import StrEnum

from mail.states import SETTLED, TRANSITIONS, State


class Effect(StrEnum):
    """What became of an event."""

    APPLIED = "applied"  # the recipient stands otherwise now
    STALE = "stale"  # the recipient is as far already, or the event is of an attempt that no longer counts
    WAITING = "waiting"  # a worker has the recipient in hand; looked at again
    UNMATCHED = "unmatched"  # no recipient of ours is known for it, yet
    DUPLICATE = "duplicate"  # told before


def effect(state: State, target: State, *, in_hand: bool, asked_last: bool) -> Effect:
    """Say what an event does.

    Events may come in any order and any number of times: what is left in the end is the furthest state that
    `TRANSITIONS` leads to.

    Args:
        state: how the recipient stands.
        target: how it would stand after the event.
        in_hand: whether a worker holds the delivery; what is not settled then is the worker's to write.
        asked_last: whether the event is of the provider that was asked last. Another one's word is about mail that was
            sent again elsewhere since.
    """
    if state not in SETTLED and (in_hand or target not in TRANSITIONS[state]):
        return Effect.WAITING
    return Effect.APPLIED if asked_last and target in TRANSITIONS[state] else Effect.STALE
