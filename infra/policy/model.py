"""What a rule is, and what it sees of a stack."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from infra.checks import PRODUCTION
from infra.values import first, mapping, sequence

Severity = Literal["high", "medium", "low"]


class NotKnownYetError(LookupError):
    """A preview does not know this value; the rule is asked again once it is."""


class Unknown:
    """Stands where a preview knows no value."""


UNKNOWN: Final = Unknown()


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource, with AWS's names of its properties."""

    type: str
    name: str
    urn: str
    protect: bool
    props: Mapping[str, Any]
    references: Mapping[str, frozenset[str]]
    """By property, the URNs of the resources its value is made of."""

    def get(self, *path: str) -> Any:
        """Returns what lies under a path of names, None where there is nothing; the first of a list stands for it."""
        value: Any = self.props
        for name in path:
            inner = first(value)
            value = inner if isinstance(inner, Unknown) else mapping(inner).get(name)
        if _has_unknown(value):
            raise NotKnownYetError(f"{self.urn} {'.'.join(path)}")
        return value

    def items(self, *path: str) -> list[Any]:
        """Returns a list under a path, empty where there is none."""
        return sequence(self.get(*path))


@dataclass(frozen=True)
class World:
    """The resources that can be seen: a whole stack, or one resource while it is declared."""

    stack: str
    resources: tuple[Resource, ...]

    @property
    def production(self) -> bool:
        """Whether the stack is the one that may lose nothing."""
        return self.stack == PRODUCTION

    def of(self, kind: str) -> list[Resource]:
        """Returns the resources of a type."""
        return [found for found in self.resources if found.type == kind]

    def pointing(self, kind: str, key: str, target: Resource) -> list[Resource]:
        """Returns the resources of a type whose property points at the target."""
        return [found for found in self.of(kind) if target.urn in found.references.get(key, ())]

    def pointed(self, source: Resource, key: str, kind: str) -> list[Resource]:
        """Returns the resources of a type that a property of the source points at."""
        return [found for found in self.of(kind) if found.urn in source.references.get(key, ())]

    def mentions(self, target: Resource) -> list[Resource]:
        """Returns whatever points at the target."""
        return [found for found in self.resources if any(target.urn in urns for urns in found.references.values())]


Check = Callable[[Resource, World], Iterable[str]]


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """A resource that breaks a rule, and what to do."""

    rule: str
    severity: Severity
    urn: str
    name: str
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What holds for every resource of some types.

    `check` yields a detail, or an empty text, for each offence. A rule with `whole` looks at other resources too, and
    one with `production` holds only in the stack of that name.
    """

    name: str
    severity: Severity
    kinds: tuple[str, ...]
    message: str
    remedy: str
    check: Check
    whole: bool = False
    production: bool = False

    def findings(self, resource: Resource, world: World) -> Iterator[Finding]:
        """Yields a finding for each offence of a resource; what a preview does not know offends nothing."""
        if resource.type not in self.kinds or (self.production and not world.production):
            return
        try:
            details = list(self.check(resource, world))
        except NotKnownYetError:
            return
        for detail in details:
            yield Finding(
                rule=self.name,
                severity=self.severity,
                urn=resource.urn,
                name=resource.name,
                message=f"{self.message}: {detail}" if detail else self.message,
                remedy=self.remedy,
            )


def unless(holds: Callable[[Resource], object]) -> Check:
    """Makes a check of what has to be true of a resource."""
    return lambda resource, _world: () if holds(resource) else ("",)


def unless_in(holds: Callable[[Resource, World], object]) -> Check:
    """Makes a check of what has to be true of a resource in its stack."""
    return lambda resource, world: () if holds(resource, world) else ("",)


def _has_unknown(value: Any) -> bool:
    inside = [*mapping(value).values(), *sequence(value)]
    return isinstance(value, Unknown) or any(map(_has_unknown, inside))
