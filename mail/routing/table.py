"""The rules of one account, put in order once, to be asked for every recipient."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from mail.routing.conditions import Header, Question
from mail.routing.domains import domain_of, parents
from mail.routing.rules import Decision, Discard, Hold, Plan, Redirect, Reject, Route, Rule, Skipped, Unreadable
from mail.routing.trace import Step, Trace
from mail.routing.ways import Destination, Ways, default_ways

_NOTHING: Final[tuple[int, ...]] = ()


class _Course(Protocol):
    """What a rule does with the recipients that it matches."""

    def decide(self, question: Question, recipient: str, domain: str) -> Decision: ...


@dataclass(frozen=True, slots=True)
class _Fixed:
    """The same for all."""

    decision: Decision

    def decide(self, question: Question, recipient: str, domain: str) -> Decision:  # noqa: ARG002 - one of several
        return self.decision


@dataclass(frozen=True, slots=True)
class _Entry:
    rule: Rule
    course: _Course

    def admits(self, question: Question, domain: str) -> bool:
        match = self.rule.match
        if not all(domain in domains for domains in match.recipients):
            return False
        return not match.conditions or question.meets(self.rule.id, match.conditions)

    def unmet(self, question: Question, domain: str) -> str | None:
        """The first condition that does not hold, in words; None where all do."""
        match = self.rule.match
        for domains in match.recipients:
            if domain not in domains:
                return domains.lacks("recipient_domain", domain)
        return next((each.unmet(question) for each in match.conditions if not each.holds(question)), None)


class Table:
    """Says for every recipient where it goes; `compiled` makes one.

    Args:
        entries: all rules in the order in which they are asked, with what they do; disabled ones are only shown.
        otherwise: what is done where no rule matches.
    """

    def __init__(self, entries: Sequence[_Entry], otherwise: Ways) -> None:
        self._all = entries
        self._entries = [entry for entry in entries if entry.rule.enabled]
        self._otherwise = otherwise
        self._always = None if self._entries else otherwise.always
        self._headers = frozenset(
            name
            for entry in self._entries
            for condition in entry.rule.match.conditions
            if isinstance(condition, Header)
            for name in condition.names
        )
        exact: dict[str, list[int]] = defaultdict(list)
        above: dict[str, list[int]] = defaultdict(list)
        anywhere: list[int] = []
        for position, entry in enumerate(self._entries):
            if not entry.rule.match.recipients:
                anywhere.append(position)
                continue
            first = entry.rule.match.recipients[0]
            for index, names in ((exact, first.exact), (above, first.above)):
                for name in names:
                    index[name].append(position)
        self._exact, self._above, self._anywhere = dict(exact), dict(above), anywhere

    def decide(self, question: Question, recipient: str, *, released: bool = False) -> Decision:
        """Give the decision for one recipient of a message: that of the first rule that matches.

        Args:
            question: the message.
            recipient: its address.
            released: whether an operator has let it go, so that rules that hold are passed over.
        """
        if self._always is not None:
            return self._always
        question.expect(self._headers)
        domain = domain_of(recipient)
        for position in self._candidates(domain):
            entry = self._entries[position]
            if entry.admits(question, domain) and not (released and isinstance(entry.rule.action, Hold)):
                return entry.course.decide(question, recipient, domain)
        return self._otherwise.decide(question, recipient, domain)

    def explain(self, question: Question, recipient: str) -> Trace:
        """Give the same decision with what led to it: what the API's simulation shows."""
        domain = domain_of(recipient)
        steps: list[Step] = []
        chosen: _Entry | None = None
        for entry in self._all:
            unmet = entry.unmet(question, domain)
            decides = chosen is None and unmet is None and entry.rule.enabled
            steps.append(Step(rule=entry.rule, decides=decides, unmet=unmet))
            chosen = entry if decides else chosen
        course = chosen.course if chosen else self._otherwise
        legs = course.legs(question, recipient, domain)[0] if isinstance(course, Ways) else ()
        return Trace(recipient, tuple(steps), course.decide(question, recipient, domain), legs)

    def _candidates(self, domain: str) -> Sequence[int]:
        """Positions of the rules that may match a recipient's domain, in order."""
        found = [*self._exact.get(domain, _NOTHING)]
        if self._above:
            for name in parents(domain):
                found += self._above.get(name, _NOTHING)
        return sorted({*found, *self._anywhere}) if found else self._anywhere


def compiled(rules: Iterable[Rule], providers: Iterable[Destination], default_provider: UUID | None) -> Table:
    """Put the rules of an account in order, and find the providers that they name.

    Args:
        rules: in any order.
        providers: those that the account may use; of two with one name the first counts, so its own come first.
        default_provider: id of the one that takes what no rule decides.
    """
    known = list(providers)
    names = {provider.name: provider for provider in reversed(known)}
    default = next((provider for provider in known if provider.id == default_provider), None)
    ordered = sorted(rules, key=lambda rule: (rule.priority, rule.id))
    return Table([_Entry(rule, _course(rule, names, default)) for rule in ordered], default_ways(default))


def _course(rule: Rule, names: Mapping[str, Destination], default: Destination | None) -> _Course:
    match rule.action:
        case Route() as route:
            return Ways(rule.id, route, names)
        case Redirect(to, route) if route.targets:
            return Ways(rule.id, route, names, to)
        case Redirect(to, route):
            return default_ways(default, rule.id, route, to)
        case Unreadable(fault):
            return _Fixed(Decision(rule.id, Plan((), skipped=(Skipped("-", f"the rule cannot be read: {fault}"),))))
        case Reject() | Hold() | Discard() as course:
            return _Fixed(Decision(rule.id, course))
