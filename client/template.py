"""Texts with `{{variables}}`, and where the variables of each message come from."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from client.errors import UsageError

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A text that may hold variables; `source` and `line` say where it stands, for error messages."""

    source: str
    text: str
    line: int = 1

    def render(self, values: Mapping[str, str]) -> str:
        """Return the text with every variable replaced; values are not searched for variables again."""

        def value(found: re.Match[str]) -> str:
            if found[1] in values:
                return values[found[1]]
            line = self.line + self.text.count("\n", 0, found.start())
            known = ", ".join(sorted(values)) or "none"
            raise UsageError(f"unknown variable '{found[1]}' in {self.source}, line {line} (known: {known})")

        return _VARIABLE.sub(value, self.text)


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """A message as a file tells it: headers, an empty line, a body."""

    headers: tuple[tuple[str, Template], ...]
    body: Template


def parse(source: str, text: str) -> MessageTemplate:
    """Take a template file apart before any value is in it, so that a value can never add a header."""
    lines = text.replace("\r\n", "\n").split("\n")
    end = lines.index("") if "" in lines else len(lines)
    headers: list[tuple[str, Template]] = []
    for number, line in enumerate(lines[:end], start=1):
        if line[0] in " \t" and headers:
            name, before = headers[-1]
            headers[-1] = name, Template(source, before.text + line, before.line)
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise UsageError(
                f"{source}, line {number}: expected 'Name: value' or the empty line that ends the headers, got {line!r}"
            )
        headers.append((name, Template(source, value.strip(), number)))
    return MessageTemplate(tuple(headers), Template(source, "\n".join(lines[end + 1 :]), end + 2))


def load_template(file: Path) -> MessageTemplate:
    """Read a template file."""
    return parse(str(file), read_text(file))


def load_rows(file: Path) -> tuple[dict[str, str], ...]:
    """Read one row of variables per message: CSV with a heading, or one JSON object per line."""
    text = read_text(file)
    json_lines = text.lstrip().startswith("{")
    rows = tuple(_json_rows(str(file), text.splitlines()) if json_lines else _csv_rows(str(file), text))
    if not rows:
        raise UsageError(f"{file}: holds no row of variables")
    return rows


def read_text(file: Path) -> str:
    """Read a text file that the command line names."""
    try:
        return file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error


def _csv_rows(source: str, text: str) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    try:
        for row in reader:
            if "" in row or None in row.values():
                wanted = len(reader.fieldnames or ())
                raise UsageError(f"{source}, line {reader.line_num}: the heading has {wanted} columns, this row not")
            yield {name.strip(): value for name, value in row.items()}
    except csv.Error as error:
        raise UsageError(f"{source}, line {reader.line_num}: not CSV: {error}") from error


def _json_rows(source: str, lines: Iterable[str]) -> Iterator[dict[str, str]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{source}, line {number}: not JSON: {error}") from error
        if not isinstance(row, dict) or any(isinstance(value, dict | list) for value in row.values()):
            raise UsageError(f"{source}, line {number}: expected one flat JSON object per line")
        yield {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
