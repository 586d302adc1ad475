"""Lists in pages: each begins behind the last item of the one before, wherever that is by now."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import Field

from backing.admin.parts import Part
from web.api.models import Of, Taken
from web.cursors import cursor_of_texts, none_of_ours, texts_of


class Sliced(Taken):
    """Which page of a list is asked for."""

    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before.")
    limit: int = Field(100, ge=1, le=1000, description="Most items of a page.")


class SlicedOf(Of, Sliced):
    """Which page of an account's list is asked for."""


def part(query: Sliced, *reads: Callable[[str], object]) -> Part:
    """Give the part of a list that is asked for, and one more item, which tells that there is a page after.

    Args:
        query: what is asked for.
        reads: make what the list is in the order of out of the texts of a cursor.

    Raises:
        Problem: the cursor is none of this list.
    """
    if query.cursor is None:
        return Part(query.limit + 1)
    texts = texts_of(query.cursor, len(reads))
    try:
        return Part(query.limit + 1, [read(text) for read, text in zip(reads, texts, strict=True)])
    except ValueError:
        raise none_of_ours() from None


def following(query: Sliced, rows: Sequence[Mapping[str, Any]], *names: str) -> str | None:
    """Give the cursor of the page after, by the names of what the list is in the order of; None at the end."""
    if len(rows) <= query.limit:
        return None
    last = rows[query.limit - 1]
    return cursor_of_texts(*("" if last[name] is None else str(last[name]) for name in names))
