"""What a routing rule may ask about a message, and the message as rules see it.

No condition is a pattern that a tenant could make slow: domains are looked up, texts are compared.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol
from uuid import UUID

from typing_extensions import override

from mail.headers import find_headers
from mail.routing.domains import Domains, domain_of, some

# What is compared of a header's value; the rest of an endless one is not looked at.
MAX_HEADER_VALUE: Final = 2000

Test = Literal["equals", "contains", "prefix", "exists"]


@dataclass(slots=True, kw_only=True, eq=False)
class Question:
    """A message that wants to go out; its recipients are decided on one by one, by one table.

    Attributes:
        message_id: what a weighted choice stays the same for.
        mail_from: the reverse path, empty for the null sender.
        size: octets of the message.
        header_block: gives the header lines, as `mail.headers.header_block` does; called only where a rule looks at a
            header, and once.
    """

    message_id: UUID
    mail_from: str
    size: int = 0
    credential_id: UUID | None = None
    stream: str = ""
    tags: Collection[str] = ()
    header_block: Callable[[], bytes] = bytes
    _sender: str | None = field(default=None, init=False, repr=False)
    _expected: Collection[str] = field(default=(), init=False, repr=False)
    _headers: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)
    _met: dict[UUID, bool] = field(default_factory=dict, init=False, repr=False)

    @property
    def sender_domain(self) -> str:
        """Domain of the reverse path in the form that rules compare."""
        if self._sender is None:
            self._sender = domain_of(self.mail_from)
        return self._sender

    def expect(self, names: Collection[str]) -> None:
        """Say which headers may be asked for, so that the block is searched once for all of them."""
        self._expected = names

    def headers(self, names: Collection[str]) -> Mapping[str, str | None]:
        """Values of the first header of each name, in small letters."""
        if not all(name in self._headers for name in names):
            wanted = list({*names, *self._expected})
            for name, value in zip(wanted, find_headers(self.header_block(), *wanted), strict=True):
                self._headers[name] = value[:MAX_HEADER_VALUE].lower() if value is not None else None
        return self._headers

    def meets(self, rule_id: UUID, conditions: Iterable["Condition"]) -> bool:
        """Whether all conditions of a rule hold; found out once for all recipients of the message."""
        met = self._met.get(rule_id)
        if met is None:
            met = self._met[rule_id] = all(condition.holds(self) for condition in conditions)
        return met


class Condition(Protocol):
    """Something that is so for a message or not, whoever receives it."""

    def holds(self, question: Question) -> bool:
        """Whether it is so."""
        ...

    def unmet(self, question: Question) -> str:
        """Why it is not so, in words for an operator."""
        ...


@dataclass(frozen=True, slots=True)
class SenderDomain(Condition):
    """The domain of the reverse path is one of these."""

    domains: Domains

    @override
    def holds(self, question: Question) -> bool:
        return question.sender_domain in self.domains

    @override
    def unmet(self, question: Question) -> str:
        return self.domains.lacks("sender_domain", question.sender_domain)


@dataclass(frozen=True, slots=True)
class HeaderTest:
    """What is asked of the first header of a name; case does not count.

    Attributes:
        name: in small letters.
        value: in small letters; for `exists`, empty where the header must be missing.
    """

    name: str
    test: Test
    value: str

    def passes(self, value: str | None) -> bool:
        """Whether a header with this value, or one that is missing, passes."""
        if self.test == "exists":
            return (value is not None) == bool(self.value)
        if value is None:
            return False
        if self.test == "equals":
            return value == self.value
        return self.value in value if self.test == "contains" else value.startswith(self.value)


@dataclass(frozen=True, slots=True)
class Header(Condition):
    """One of these tests of headers is passed."""

    tests: tuple[HeaderTest, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The headers that are looked at."""
        return tuple(test.name for test in self.tests)

    @override
    def holds(self, question: Question) -> bool:
        values = question.headers(self.names)
        return any(test.passes(values[test.name]) for test in self.tests)

    @override
    def unmet(self, question: Question) -> str:
        values = question.headers(self.names)
        found = dict.fromkeys(self.names)
        return "header: " + some(f"{name} is {_quoted(values[name])}" for name in found)


@dataclass(frozen=True, slots=True)
class Tag(Condition):
    """The message has one of these tags."""

    words: frozenset[str]

    @override
    def holds(self, question: Question) -> bool:
        return not self.words.isdisjoint(question.tags)

    @override
    def unmet(self, question: Question) -> str:
        return f"tag: the message has {some(question.tags) or 'none'}, not {some(sorted(self.words))}"


@dataclass(frozen=True, slots=True)
class Stream(Condition):
    """The message belongs to one of these streams."""

    words: frozenset[str]

    @override
    def holds(self, question: Question) -> bool:
        return question.stream in self.words

    @override
    def unmet(self, question: Question) -> str:
        return f"stream: {_quoted(question.stream)} is none of {some(sorted(self.words))}"


@dataclass(frozen=True, slots=True)
class Size(Condition):
    """The message is larger than the first and smaller than the second number of one of these pairs."""

    ranges: tuple[tuple[int | None, int | None], ...]

    @override
    def holds(self, question: Question) -> bool:
        size = question.size
        return any((gt is None or size > gt) and (lt is None or size < lt) for gt, lt in self.ranges)

    @override
    def unmet(self, question: Question) -> str:
        return f"size: {question.size} octets"


@dataclass(frozen=True, slots=True)
class Credential(Condition):
    """The message came in under one of these credentials."""

    ids: frozenset[UUID]

    @override
    def holds(self, question: Question) -> bool:
        return question.credential_id in self.ids

    @override
    def unmet(self, question: Question) -> str:
        return f"credential_id: it is {question.credential_id or 'not known'}"


def _quoted(value: str | None) -> str:
    return "missing" if value is None else f'"{value[:80]}"'
