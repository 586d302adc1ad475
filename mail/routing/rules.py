"""Routing rules, and what they decide, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from mail.delivery import PROVIDER_TROUBLE, Outcome
from mail.routing.conditions import Condition
from mail.routing.domains import Domains

# RFC 3463, 3.8: delivery not authorized, by the account's own rule.
ENHANCED_REJECT: Final = "5.7.1"


class Sticky(StrEnum):
    """What a weighted choice stays the same for; a retry always keeps its provider."""

    MESSAGE = "message"
    RECIPIENT_DOMAIN = "recipient_domain"
    NONE = "none"  # each recipient of each message for itself


@dataclass(frozen=True, slots=True)
class Target:
    """A provider by its name, and its share beside those of the other targets."""

    provider: str
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send through one of the targets, then through the others, then through the failover list.

    Attributes:
        targets: empty for the account's default provider.
        failover_on: outcomes after which the next provider is asked.
        max_recipients: most recipients of one sending, or None for the provider's own limit.
    """

    targets: tuple[Target, ...] = ()
    sticky: Sticky = Sticky.MESSAGE
    failover: tuple[str, ...] = ()
    failover_on: frozenset[Outcome] = PROVIDER_TROUBLE
    max_recipients: int | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Send to another address instead, by the same ways as any mail."""

    to: str
    route: Route


@dataclass(frozen=True, slots=True)
class Reject:
    """Fail the recipient; the sender is told as of any failure."""

    code: int
    text: str
    enhanced: str = ENHANCED_REJECT


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep it until an operator lets it go."""

    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Send it nowhere and tell nobody."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A rule that this version cannot read, perhaps of a newer one: mail that comes to it waits, and is not misled."""

    fault: str


Action = Route | Redirect | Reject | Hold | Discard | Unreadable


@dataclass(frozen=True, slots=True)
class Match:
    """What must hold, all of it, for a rule to decide on a recipient; nothing holds always.

    Attributes:
        recipients: lists that the recipient's domain must be in.
        conditions: what must hold for the message.
    """

    recipients: tuple[Domains, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an account; of those that match, the one with the lowest priority decides, then the lowest id."""

    id: UUID
    name: str
    priority: int
    enabled: bool
    match: Match
    action: Action


@dataclass(frozen=True, slots=True)
class Skipped:
    """A provider that a plan leaves out, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to send: the providers in the order in which they are asked.

    Attributes:
        providers: none when nothing can take it now: it waits and somebody is told, and it never bounces for that.
        failover_on: outcomes after which the next one is asked.
        max_recipients: as in `Route`.
        redirect_to: the address to send to instead of the recipient's own, or None.
        skipped: those that were meant and cannot be asked.
    """

    providers: tuple[UUID, ...]
    failover_on: frozenset[Outcome] = PROVIDER_TROUBLE
    max_recipients: int | None = None
    redirect_to: str | None = None
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done for one recipient; equal for recipients that can be sent to together.

    Attributes:
        rule_id: the rule that decided, or None where none matched.
    """

    rule_id: UUID | None
    course: Plan | Reject | Hold | Discard
