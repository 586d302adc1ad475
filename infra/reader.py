"""Reads the flat strings Pulumi hands over as configuration, and gathers everything that is wrong with them."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import cast

import pulumi


class ConfigError(pulumi.RunError):
    """The stack's configuration cannot be built; the message says what to change."""


@dataclass(frozen=True)
class Range:
    """Whole numbers from low to high; `why` has two gaps for them."""

    low: int
    high: int
    why: str
    example: int


@dataclass(frozen=True)
class Pattern:
    """Texts that match as a whole."""

    shape: re.Pattern[str]
    why: str
    example: str


@dataclass(frozen=True)
class Choice:
    """One of some texts."""

    options: AbstractSet[str]
    why: str
    example: str


class Reader:
    """Takes one key after another; `finish` raises what was wrong with them and with the keys nobody took."""

    def __init__(self, project: str, values: Mapping[str, str]) -> None:
        self._project = project
        self._values = values
        self._taken: list[str] = []
        self._problems: list[str] = []

    def text(self, key: str) -> str | None:
        """Returns the value as it stands."""
        full = self._full(key)
        self._taken.append(key)
        if full not in self._values:
            self.report(f"{full} is not set and Pulumi.yaml gives no default. Run: pulumi config set {full} VALUE")
            return None
        return self._values[full]

    def integer(self, key: str, limit: Range) -> int:
        """Returns a whole number within the range."""
        text = self.text(key)
        if text is None:
            return limit.low
        number = int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None
        if number is None or not limit.low <= number <= limit.high:
            self._correct(key, text, limit.why.format(limit.low, limit.high), limit.example)
            return limit.low
        return number

    def boolean(self, key: str) -> bool:
        """Returns a truth value."""
        text = self.text(key)
        if text not in {"true", "false", None}:
            self._correct(key, text, "it can be true or false", "true")
        return text == "true"

    def matching(self, key: str, limit: Pattern) -> str:
        """Returns a text of the given shape."""
        text = self.text(key)
        if text is not None and not limit.shape.fullmatch(text):
            self._correct(key, text, limit.why, limit.example)
        return text or ""

    def one_of(self, key: str, limit: Choice) -> str:
        """Returns one of the given texts."""
        text = self.text(key)
        if text is not None and text not in limit.options:
            near = difflib.get_close_matches(text, limit.options, n=1)
            self._correct(key, text, f"it is not one of {limit.why}", near[0] if near else limit.example)
        return text or ""

    def mapping(self, key: str) -> Mapping[str, str]:
        """Returns an object whose values are texts."""
        text = self.text(key)
        if text is None:
            return {}
        try:
            found: object = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.refuse(key, text, "it has to be an object of texts", f"write {key} as `name: text` lines")
            return {}
        pairs = cast("dict[str, object]", found)
        for name in [name for name, value in pairs.items() if not isinstance(value, str)]:
            self.refuse(key, json.dumps({name: pairs.pop(name)}), "its values have to be texts", "put it in quotes")
        return cast("dict[str, str]", pairs)

    def texts(self, key: str, shape: re.Pattern[str], why: str, example: str) -> tuple[str, ...]:
        """Returns a list of different texts, each of the given shape."""
        found: list[str] = []
        for entry in self._list(key):
            if not isinstance(entry, str) or not shape.fullmatch(entry):
                self.refuse(key, json.dumps(entry), why, f"write its entries as in {example}")
            elif entry in found:
                self.refuse(key, json.dumps(entry), "it is there twice", "remove one of the two")
            else:
                found.append(entry)
        return tuple(found)

    def objects(self, key: str) -> tuple[Mapping[str, object], ...]:
        """Returns a list of objects."""
        found: list[Mapping[str, object]] = []
        for entry in self._list(key):
            if isinstance(entry, dict):
                found.append(cast("dict[str, object]", entry))
            else:
                self.refuse(key, json.dumps(entry), "its entries have to be objects", "write `name: value` lines")
        return tuple(found)

    def network(self, key: str) -> IPv4Network:
        """Returns an IPv4 network."""
        text = self.text(key)
        try:
            return IPv4Network(text or "0.0.0.0/0")
        except ValueError as fault:
            self._correct(key, text, f"it is no IPv4 network ({fault})", "10.40.0.0/16")
            return IPv4Network("0.0.0.0/0")

    def _list(self, key: str) -> list[object]:
        text = self.text(key)
        if text is None:
            return []
        try:
            found: object = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, list):
            self.refuse(key, text, "it has to be a list", f"write {key} as `- value` lines")
            return []
        return cast("list[object]", found)

    def refuse(self, key: str, shown: str, limit: str, remedy: str) -> None:
        """Notes a value that breaks a limit."""
        self.report(f"{self._full(key)} has {shown}; {limit}. In the stack's file: {remedy}")

    def report(self, problem: str) -> None:
        """Notes a problem in words."""
        self._problems.append(problem)

    def finish(self, stack: str, together: Callable[[], Iterable[str]] = tuple) -> None:
        """Raises when anything was wrong.

        Args:
            stack: what it is the configuration of.
            together: problems that values have with each other; asked only when each is right by itself.
        """
        for full in sorted(self._values.keys() - {self._full(key) for key in self._taken}):
            self._report_unknown(full)
        if not self._problems:
            for problem in together():
                self.report(problem)
        if self._problems:
            head = f"stack {stack} cannot be built, {len(self._problems)} problem(s) in its configuration:"
            raise ConfigError("\n- ".join([head, *self._problems]))

    def _full(self, key: str) -> str:
        return f"{self._project}:{key}"

    def _correct(self, key: str, text: str | None, limit: str, example: object) -> None:
        full = self._full(key)
        self.report(f"{full} is {text!r}; {limit}. Run: pulumi config set {full} {example}")

    def _report_unknown(self, full: str) -> None:
        namespace, _, key = full.partition(":")
        if namespace == "pulumi":
            return
        if namespace != self._project:
            why = f"the stack's provider reads only {self._project} keys, such as {self._project}:region"
        else:
            near = difflib.get_close_matches(key, self._taken, n=1)
            why = f"there is no such key, but there is {near[0]}" if near else "there is no such key"
        self.report(f"{full} is {self._values[full]!r}; {why}. Run: pulumi config rm {full}")
