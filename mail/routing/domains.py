"""Lists of domains, as rules and providers have them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mail.addresses import ascii_domain

_SHOWN: Final = 5


def domain_of(address: str) -> str:
    """The domain of an address in the form that rules compare, empty where there is none."""
    local, _, domain = address.rpartition("@")
    if not local:
        return ""
    return domain.lower() if domain.isascii() else ascii_domain(domain)


@dataclass(frozen=True, slots=True)
class Domains:
    """A list of domains; `*.example.com` is every name below example.com.

    Attributes:
        names: as they were written.
        exact: names that are looked up as they are, with A-labels only.
        above: names of which all that is below counts.
    """

    names: tuple[str, ...]
    exact: frozenset[str]
    above: frozenset[str]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Domains":
        """Make one of what `mail.addresses.parse_domain` has read."""
        names = tuple(names)
        exact = frozenset(ascii_domain(name) for name in names if not name.startswith("*."))
        return cls(names, exact, frozenset(ascii_domain(name[2:]) for name in names if name.startswith("*.")))

    def __contains__(self, domain: str) -> bool:
        """Whether it has a domain that `domain_of` gave."""
        return domain in self.exact or (bool(self.above) and any(name in self.above for name in parents(domain)))

    def lacks(self, key: str, domain: str) -> str:
        """Say that a domain is none of them."""
        return f"{key}: {domain or 'no domain'} is none of {some(self.names)}"


def parents(domain: str) -> Iterable[str]:
    """The names above a domain, the nearest first."""
    at = domain.find(".")
    while at >= 0:
        yield domain[at + 1 :]
        at = domain.find(".", at + 1)


def some(words: Iterable[str]) -> str:
    """Write the first few words of a list."""
    listed = list(words)
    more = f", ... ({len(listed)} in all)" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
