"""Reading the values of a document, with errors that name the key, the value and what is allowed."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

MAX_WORDS: Final = 200

_Read = TypeVar("_Read")


class BadRule(Exception):  # noqa: N818 - a fact about a document
    """A document is no rule; names the key, the value and what is allowed."""


def alternatives(at: str, value: object, most: int, read: Callable[[str, object], _Read]) -> tuple[_Read, ...]:
    """Read one alternative, or a list of them."""
    if not isinstance(value, list):
        return (read(at, value),)
    if not value:
        raise BadRule(f"{at} is empty; a condition needs an alternative at least")
    return tuple(read(f"{at}[{n}]", each) for n, each in enumerate(list_of(at, value, most)))


def object_of(at: str, value: object, keys: frozenset[str]) -> Mapping[str, Any]:
    """Read an object that has none but these keys."""
    if not isinstance(value, dict):
        raise BadRule(f"{at} is {shown(value)}; expected an object")
    for key in value:
        if key not in keys:
            raise BadRule(f"{at} has no key {shown(key)}; it may have {names_of(sorted(keys))}")
    return value


def list_of(at: str, value: object, most: int) -> list[Any]:
    """Read a list of at most so many entries."""
    if not isinstance(value, list):
        raise BadRule(f"{at} is {shown(value)}; expected a list")
    if len(value) > most:
        raise BadRule(f"{at} has {len(value)} entries; {most} at most")
    return value


def number(at: str, value: object, least: int, most: int) -> int:
    """Read a whole number from `least` to `most`."""
    if type(value) is not int or not least <= value <= most:
        raise BadRule(f"{at} is {shown(value)}; expected a whole number from {least} to {most}")
    return value


def flag(at: str, value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise BadRule(f"{at} is {shown(value)}; expected true or false")
    return value


def words(at: str, value: object) -> str:
    """Read a short text that can be shown."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable() or len(value) > MAX_WORDS:
        raise BadRule(f"{at} is {shown(value)}; expected a text of 1 to {MAX_WORDS} printable characters")
    return value


def one_of(at: str, value: object, allowed: "list[Any]") -> str:
    """Read one of some words."""
    if not isinstance(value, str) or value not in allowed:
        raise BadRule(f"{at} is {shown(value)}; expected one of {names_of(allowed)}")
    return value


def names_of(names: "Mapping[str, Any] | list[Any] | tuple[str, ...]") -> str:
    """Write words in a row."""
    return ", ".join(map(str, names))


def shown(value: object) -> str:
    """Write a value as it stands in the document; one that is not there is missing."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= MAX_WORDS else text[:MAX_WORDS] + "..."
