"""Policy documents as the rules read them."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra import values
from infra.policy.model import Resource

Statement = Mapping[str, Any]


def statements(resource: Resource, key: str = "policy") -> list[Statement]:
    """Returns the statements of a resource's document; what is no document has none."""
    return values.statements(resource.get(key))


def allowed(resource: Resource, key: str = "policy") -> list[Statement]:
    """Returns the statements that allow something."""
    return [statement for statement in statements(resource, key) if statement.get("Effect") == "Allow"]


def condition_keys(statement: Statement) -> Iterator[str]:
    """Yields the keys that a statement's conditions look at, in lower case."""
    for operator in values.mapping(statement.get("Condition")).values():
        yield from (key.lower() for key in values.mapping(operator))


def refuses_plaintext(statement: Statement) -> bool:
    """Whether a statement refuses everybody who comes without TLS."""
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    )
