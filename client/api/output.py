"""Shows answers to people: aligned text, or on a terminal the tables of rich, where it is installed."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_MOMENT: Final = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.\d+)?(?:Z|\+00:00)")
Row = Sequence[str]


def cell(value: Any) -> str:
    """Write a value so that it stays on its line: whoever wrote it must not write to the terminal."""
    match value:
        case _ if value in (None, "", [], {}):
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case float():
            text = str(round(value, 3))
        case str():
            moment = _MOMENT.fullmatch(value)
            text = f"{moment[1]}Z" if moment else value
        case list() if not any(isinstance(each, dict | list) for each in value):
            text = ", ".join(map(str, value))
        case dict() if not any(isinstance(each, dict | list) for each in value.values()):
            text = ", ".join(f"{key}={cell(each)}" for key, each in value.items())
        case list() | dict():
            text = json.dumps(value, ensure_ascii=False)
        case _:
            text = str(value)
    return printable(text)


def printable(text: str) -> str:
    """Write what is no letter of a line as its escape."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def heading(column: str) -> str:
    """Give the heading of a column or the name of a fact."""
    return column.replace("_", " ").upper()


def grid(rows: Sequence[Row], indent: str = "") -> list[str]:
    """Align the cells of some rows."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def table(columns: Sequence[str], items: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Make the rows of a list, headings first."""
    return [[heading(each) for each in columns], *([cell(item.get(each)) for each in columns] for item in items)]


def facts(told: Mapping[str, Any], etag: str | None = None) -> list[str]:
    """Write a thing, a fact a line."""
    found = [*_flat(told), *([("etag", etag.strip('"'))] if etag else [])]
    return grid([(printable(name), text) for name, text in found])


def _flat(told: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    for key, value in told.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{within}{key}.")
        else:
            yield f"{within}{key}", cell(value)


def on_terminal(rows: Sequence[Row]) -> bool:
    """Print a table with rich; False where it is not installed."""
    try:
        from rich.console import Console  # noqa: PLC0415 - it is there or not
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above
    except ImportError:
        return False
    shown = Table(*rows[0], box=None, pad_edge=False, header_style="bold")
    for row in rows[1:]:
        # What a stranger wrote is no markup.
        shown.add_row(*map(Text, row))
    Console().print(shown)
    return True
