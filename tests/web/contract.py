"""The operations of the API as its own OpenAPI tells them, so that a test of all of them has new ones, too."""

import re
from dataclasses import dataclass
from typing import Any

from mail.keys import OPERATORS_ONLY, Scope

_SCOPE = re.compile(r"Scope: `([a-z:]+)`")


@dataclass(frozen=True, slots=True)
class Operation:
    """One of them.

    Attributes:
        scope: what a key needs for it; None where it is called with something else than a key.
    """

    method: str
    path: str
    tag: str
    scope: Scope | None

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def for_operators(self) -> bool:
        return self.scope in OPERATORS_ONLY


def operations(contract: dict[str, Any]) -> list[Operation]:
    """Read them; those that need a key name its scope in what is told of them."""
    found = []
    for path, methods in contract["paths"].items():
        for method, told in methods.items():
            (tag,), scope = told["tags"], _SCOPE.search(told["description"])
            assert bool(scope) == bool(told["security"]), path
            found.append(Operation(method.upper(), path, tag, Scope(scope[1]) if scope else None))
    return found
