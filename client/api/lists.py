"""Reads files of suppressed addresses: an address a line, or what `suppressions export` prints."""

import csv
import io
import json
from typing import Any, Final

from client.api.errors import UsageError

# What an address is suppressed by; the rest of an exported line says how it came there.
_FIELDS: Final = ("address", "reason", "until", "stream")


def listed(name: str, octets: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """Give the addresses of a file, and of an exported list, its entries.

    Empty lines, and lines that begin with #, are none. A list is known by its first line: the names of its columns, or
    a JSON object.

    Args:
        name: of the file, for errors.
        octets: what is in it.

    Raises:
        UsageError: it cannot be read, or has no address.
    """
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is no text in UTF-8") from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise UsageError(f"{name}: has no address")
    if lines[0].startswith("{"):
        return [], [_of_json(name, line) for line in lines]
    columns = lines[0].split(",")
    if len(columns) > 1 and "address" in columns:
        return [], _of_table(name, text)
    return lines, []


def _of_json(name: str, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        raise UsageError(f"{name}: a line is no JSON: {line[:80]}") from None
    if not isinstance(found, dict) or "address" not in found:
        raise UsageError(f"{name}: a line has no address: {line[:80]}")
    return _entry(found)


def _of_table(name: str, text: str) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    broken = next((n for n, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if broken is not None:
        raise UsageError(f"{name}: row {broken} has not as many columns as the first one")
    return [_entry(row) for row in rows]


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    """What is empty is as good as not said."""
    return {field: found[field] for field in _FIELDS if found.get(field)}
