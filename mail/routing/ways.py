"""From providers by name to the order in which they are asked."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Final, Protocol
from uuid import UUID

from mail.routing.conditions import Question
from mail.routing.domains import Domains
from mail.routing.rules import Decision, Plan, Route, Skipped, Sticky, Target

NO_DEFAULT: Final = Skipped("-", "the account has no default provider")
_BITS: Final = 52


class Destination(Protocol):
    """What routing needs to know of a provider."""

    @property
    def id(self) -> UUID:
        """Names it in plans."""
        ...

    @property
    def name(self) -> str:
        """Names it in rules."""
        ...

    @property
    def enabled(self) -> bool:
        """Whether mail may be given to it."""
        ...

    @property
    def allowed_domains(self) -> tuple[str, ...] | None:
        """The sender domains it sends for, with `*.example.com` for all below; None is any."""
        ...


@dataclass(frozen=True, slots=True)
class Leg:
    """A provider on the way.

    Attributes:
        weight: as a target; None on the failover list, and for the default provider.
        senders: the domains it sends for, or None for any.
    """

    id: UUID
    name: str
    weight: int | None
    senders: Domains | None

    def refusal(self, question: Question) -> str | None:
        """Why it cannot be asked for this message, or None; mail from the null sender belongs to nobody."""
        domain = question.sender_domain if self.senders else ""
        if self.senders is None or not domain or domain in self.senders:
            return None
        return f"it does not send for {domain}"


class Ways:
    """The ways of one rule, or of what no rule decides, as far as they do not depend on the message.

    Args:
        rule_id: the rule, or None.
        route: what it says.
        providers: those that the account may use, by name.
        redirect_to: the address that is sent to instead, or None.
        skipped: what is known to be missing.
    """

    def __init__(
        self,
        rule_id: UUID | None,
        route: Route,
        providers: Mapping[str, Destination],
        redirect_to: str | None = None,
        skipped: tuple[Skipped, ...] = (),
    ) -> None:
        self._rule_id = rule_id
        self._route = route
        self._redirect_to = redirect_to
        weights = {target.provider: target.weight for target in route.targets}
        backups = [name for name in route.failover if name not in weights]
        self._skipped = (*skipped, *_absent([*weights, *backups], providers))
        self._targets = tuple(_legs(weights.items(), providers))
        self._backups = tuple(_legs(((name, None) for name in backups), providers))
        plain = len(self._targets) <= 1 and not any(leg.senders for leg in (*self._targets, *self._backups))
        self._always = self._decision((*self._targets, *self._backups), ()) if plain else None

    @property
    def always(self) -> Decision | None:
        """The decision that is the same for every message, if it is."""
        return self._always

    def decide(self, question: Question, recipient: str, domain: str) -> Decision:
        """Give the plan for a recipient, whose domain is given too."""
        return self._always or self._decision(*self.legs(question, recipient, domain))

    def legs(self, question: Question, recipient: str, domain: str) -> tuple[tuple[Leg, ...], tuple[Skipped, ...]]:
        """Give the providers in the order in which they are asked, and those that do not send for this sender."""
        targets = self._targets
        if len(targets) > 1:
            key = self._key(question, recipient, domain)
            targets = tuple(sorted(targets, key=lambda leg: (-_score(leg, key), leg.id)))
        usable, skipped = [], []
        for leg in (*targets, *self._backups):
            refusal = leg.refusal(question)
            if refusal is None:
                usable.append(leg)
            else:
                skipped.append(Skipped(leg.name, refusal))
        return tuple(usable), tuple(skipped)

    def _key(self, question: Question, recipient: str, domain: str) -> bytes:
        """What a choice stays the same for; another rule chooses anew."""
        rule = self._rule_id.bytes if self._rule_id else b""
        match self._route.sticky:
            case Sticky.MESSAGE:
                return rule + question.message_id.bytes
            case Sticky.RECIPIENT_DOMAIN:
                return rule + domain.encode("utf-8", "replace")
            case Sticky.NONE:
                return rule + question.message_id.bytes + recipient.encode("utf-8", "replace")

    def _decision(self, legs: tuple[Leg, ...], skipped: tuple[Skipped, ...]) -> Decision:
        plan = Plan(
            providers=tuple(leg.id for leg in legs),
            failover_on=self._route.failover_on,
            max_recipients=self._route.max_recipients,
            redirect_to=self._redirect_to,
            skipped=self._skipped + skipped,
        )
        return Decision(self._rule_id, plan)


def default_ways(
    default: Destination | None, rule_id: UUID | None = None, route: Route | None = None, to: str | None = None
) -> Ways:
    """The ways through an account's default provider, if it has one."""
    route = route or Route()
    if default is None:
        return Ways(rule_id, route, {}, to, (NO_DEFAULT,))
    return Ways(rule_id, replace(route, targets=(Target(default.name),)), {default.name: default}, to)


def _absent(names: Iterable[str], providers: Mapping[str, Destination]) -> Iterator[Skipped]:
    for name in names:
        provider = providers.get(name)
        if provider is None:
            yield Skipped(name, "there is no provider of this name that the account may use")
        elif not provider.enabled:
            yield Skipped(name, "it is disabled")


def _legs(names: Iterable[tuple[str, int | None]], providers: Mapping[str, Destination]) -> Iterator[Leg]:
    for name, weight in names:
        provider = providers.get(name)
        if provider is not None and provider.enabled:
            allowed = provider.allowed_domains
            yield Leg(provider.id, name, weight, Domains.of(allowed) if allowed is not None else None)


def _score(leg: Leg, key: bytes) -> float:
    """Weighted rendezvous hashing: the highest score is asked first, and each score is the leg's own.

    Thus a target that goes away moves only what it had, and shares follow the weights (the logarithmic method of
    Schindelhauer and Schomaker, Weighted distributed hash tables, 2005).
    """
    digest = blake2b(key, key=leg.id.bytes, digest_size=8).digest()
    # Neither 0 nor 1, and exact in a float.
    share = ((int.from_bytes(digest, "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)
    return (leg.weight or 1) / -math.log(share)
