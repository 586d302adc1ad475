"""One event, whoever the provider is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from mail.states import State


class Kind(StrEnum):
    """What happened to a message for one recipient."""

    ACCEPTED = "accepted"  # the provider has it and will try
    DEFERRED = "deferred"  # the provider tried, and will try again
    DELIVERED = "delivered"  # to the recipient's server
    BOUNCED = "bounced"  # the recipient's server does not take it, or the provider gave up
    REJECTED = "rejected"  # the provider took it, and will not send it after all
    COMPLAINED = "complained"
    OPENED = "opened"
    CLICKED = "clicked"
    UNSUBSCRIBED = "unsubscribed"


class Bounce(StrEnum):
    """Whether the address is to blame."""

    HARD = "hard"
    SOFT = "soft"


class Cause(StrEnum):
    """Why an address is not written to again; the reasons of a suppression list."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


# How a recipient stands after an event. Whatever a provider tells of a message shows that it has taken it.
STATE_AFTER: Final[Mapping[Kind, State]] = {
    Kind.ACCEPTED: State.ACCEPTED,
    Kind.DEFERRED: State.ACCEPTED,
    Kind.DELIVERED: State.DELIVERED,
    Kind.BOUNCED: State.BOUNCED,
    Kind.REJECTED: State.BOUNCED,
    Kind.COMPLAINED: State.COMPLAINED,
    Kind.OPENED: State.ACCEPTED,
    Kind.CLICKED: State.ACCEPTED,
    Kind.UNSUBSCRIBED: State.ACCEPTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEvent:
    """What a provider tells of one recipient of one message.

    Attributes:
        id: the same whenever the provider tells it again; at most 64 ASCII characters.
        address: the recipient, in the provider's spelling.
        bounce: of a bounce, whether the address is to blame.
        suppress: why the address is not to be written to again, or None.
        reason: the provider's own class of it, such as `Permanent/NoEmail`, or empty.
        code, enhanced, text: of the recipient's server, as far as they are told; the text is clean and short.
        message_id, n: the message and the recipient's number in it, where the provider carries our tags.
        provider_message_id: how the provider names the message, without angle brackets, or None.
        channel: SES's configuration set that it came through, or None.
    """

    id: str
    kind: Kind
    address: str
    occurred_at: datetime
    bounce: Bounce | None = None
    suppress: Cause | None = None
    reason: str = ""
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    message_id: UUID | None = None
    n: int | None = None
    provider_message_id: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a provider's call told.

    Attributes:
        events: in the order of the call.
        ignored: kinds that mean nothing to us, one for each time.
        faults: what was wrong with events that could not be read, one for each; they do not spoil the others.
    """

    events: tuple[ProviderEvent, ...] = ()
    ignored: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


class Fault(StrEnum):
    """Whose fault it is that a call cannot be used."""

    CALLER = "caller"  # it cannot be shown to come from the provider: answer 401
    PROVIDER = "provider"  # it is not of the form that the provider describes: answer 400
    OURS = "ours"  # a key or a name in our configuration is wrong: answer 503, and the provider tries again


class BadCall(Exception):  # noqa: N818 - a fact about a call
    """A call cannot be used; says why, and whose fault it is."""

    def __init__(self, fault: Fault, reason: str) -> None:
        self.fault = fault
        self.reason = reason
        super().__init__(reason)
