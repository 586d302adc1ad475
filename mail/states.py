"""How a recipient, a delivery and a message may stand, and what may follow what; the rest is not legal."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a recipient stands; the recipient is the unit of truth."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"  # a provider may have taken it
    HELD = "held"
    ACCEPTED = "accepted"  # by a provider
    DELIVERED = "delivered"  # by the provider, as it says itself
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    DISCARDED = "discarded"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """Where the work on a message stands."""

    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"
    HELD = "held"
    DONE = "done"


class Order(StrEnum):
    """What an operator may do with mail that is under way."""

    RELEASE = "release"
    RETRY = "retry"
    CANCEL = "cancel"
    HOLD = "hold"


class MessageState(StrEnum):
    """How a message stands as a whole, derived from its recipients."""

    PENDING = "pending"
    HELD = "held"
    ACCEPTED = "accepted"
    PARTIAL = "partial"
    FAILED = "failed"


_BEFORE_SENDING: Final = frozenset(
    {State.SENDING, State.HELD, State.FAILED, State.EXPIRED, State.SUPPRESSED, State.DISCARDED, State.CANCELLED}
)

# What may follow what. After the provider has taken it, only the provider's own events move a recipient, and only
# forward: a delivery that is told late does not undo a bounce.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.QUEUED: _BEFORE_SENDING,
    State.SENDING: frozenset(
        {State.QUEUED, State.ACCEPTED, State.FAILED, State.DEFERRED, State.UNKNOWN, State.EXPIRED}
    ),
    State.DEFERRED: _BEFORE_SENDING,
    State.UNKNOWN: frozenset(
        {
            State.SENDING,
            State.HELD,
            State.FAILED,
            State.ACCEPTED,
            State.DELIVERED,
            State.BOUNCED,
            State.COMPLAINED,
            State.EXPIRED,
        }
    ),
    # Evidence may still come of what is held because nobody knows what came of it.
    State.HELD: (_BEFORE_SENDING - {State.HELD}) | {State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.COMPLAINED},
    State.ACCEPTED: frozenset({State.DELIVERED, State.BOUNCED, State.COMPLAINED}),
    State.DELIVERED: frozenset({State.BOUNCED, State.COMPLAINED}),
    State.BOUNCED: frozenset({State.COMPLAINED}),
    State.COMPLAINED: frozenset(),
    State.FAILED: frozenset(),
    State.EXPIRED: frozenset(),
    State.SUPPRESSED: frozenset(),
    State.DISCARDED: frozenset(),
    State.CANCELLED: frozenset(),
}

# The work is done, whatever events may still say.
SETTLED: Final = frozenset(
    {
        State.ACCEPTED,
        State.DELIVERED,
        State.BOUNCED,
        State.COMPLAINED,
        State.FAILED,
        State.EXPIRED,
        State.SUPPRESSED,
        State.DISCARDED,
        State.CANCELLED,
    }
)
TERMINAL: Final = frozenset(state for state, successors in TRANSITIONS.items() if not successors)

# What an operator's order is for, and what follows. It goes beside TRANSITIONS: nothing but an order brings back what
# has ended, and whoever reads there that a state is an end need not think of orders.
ORDERS: Final[Mapping[Order, tuple[frozenset[State], State]]] = {
    Order.RELEASE: (frozenset({State.HELD}), State.QUEUED),
    Order.RETRY: (frozenset({State.FAILED, State.EXPIRED, State.DEFERRED}), State.QUEUED),
    Order.CANCEL: (frozenset({State.QUEUED, State.DEFERRED, State.UNKNOWN, State.HELD}), State.CANCELLED),
    Order.HOLD: (frozenset({State.QUEUED, State.DEFERRED, State.UNKNOWN}), State.HELD),
}

# What an operator may send through another provider. Of an unknown outcome the first one may have taken it already.
REROUTED: Final = frozenset({State.QUEUED, State.DEFERRED, State.HELD})

# After an operator has held or cancelled all that waits, what is held may be left.
DELIVERY_TRANSITIONS: Final[Mapping[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.QUEUED: frozenset({DeliveryState.SENDING, DeliveryState.HELD, DeliveryState.DONE}),
    DeliveryState.SENDING: frozenset(
        {
            DeliveryState.QUEUED,
            DeliveryState.SENDING,
            DeliveryState.DEFERRED,
            DeliveryState.UNKNOWN,
            DeliveryState.HELD,
            DeliveryState.DONE,
        }
    ),
    # A provider's event may settle the last recipient that waits.
    DeliveryState.DEFERRED: frozenset({DeliveryState.SENDING, DeliveryState.HELD, DeliveryState.DONE}),
    DeliveryState.UNKNOWN: frozenset({DeliveryState.SENDING, DeliveryState.HELD, DeliveryState.DONE}),
    DeliveryState.HELD: frozenset({DeliveryState.QUEUED, DeliveryState.DONE}),
    DeliveryState.DONE: frozenset({DeliveryState.QUEUED}),  # an operator sends it once more
}

_TAKEN: Final = frozenset({State.ACCEPTED, State.DELIVERED})


def message_state(recipients: Iterable[State]) -> MessageState:
    """Say how a message stands whose recipients stand so; one that was held back counts before those that failed."""
    states = set(recipients)
    if states - SETTLED - {State.HELD}:
        return MessageState.PENDING
    if State.HELD in states:
        return MessageState.HELD
    if states <= _TAKEN:
        return MessageState.ACCEPTED
    return MessageState.PARTIAL if states & _TAKEN else MessageState.FAILED
