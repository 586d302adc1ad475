"""Values of unknown shape, such as a resource's inputs, taken apart without trusting them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, cast


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list, which a text is not."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def mapping(value: object) -> Mapping[str, Any]:
    """Returns a mapping as it is, and an empty one for anything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    """Returns the items of a list, and none of anything else."""
    return list(value) if is_list(value) else []


def first(value: object) -> Any:
    """Returns the first item of a list, None of an empty one, and anything else as it is."""
    if is_list(value):
        return value[0] if value else None
    return value


def nested(value: object, *path: str) -> Any:
    """Returns what lies under a path of names, None where there is nothing; the first of a list stands for it."""
    for name in path:
        value = mapping(first(value)).get(name)
    return value


def parsed(text: object) -> Any:
    """Returns what a text in JSON says; None where it is no text or says nothing."""
    try:
        return json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None


def texts(value: object) -> list[str]:
    """IAM writes one as itself and several as a list."""
    if is_list(value):
        return [str(item) for item in value]
    return [] if value is None else [str(value)]


def statements(document: object) -> list[Mapping[str, Any]]:
    """Returns the statements of a policy document; what is no document has none."""
    found = mapping(parsed(document)).get("Statement")
    return [mapping(statement) for statement in (found if is_list(found) else [found]) if statement]


def principals(statement: Mapping[str, Any], kind: str = "") -> list[str]:
    """Returns whom a statement is about: the principals of a kind (AWS, Service), or all; * is of every kind."""
    who = statement.get("Principal")
    if not isinstance(who, Mapping):
        return texts(who)
    groups = mapping(cast("object", who))
    return [name for key, group in groups.items() if kind in {"", key} for name in texts(group)]
