"""Where a page begins, as a text that clients hand back."""

import base64
import binascii
from datetime import datetime
from uuid import UUID

import orjson

from backing.postgres.stories import Place
from web.problems import Problem


def cursor_of(place: Place | None) -> str | None:
    """Write a place down."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(f"{place[0].isoformat()} {place[1]}".encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> Place | None:
    """Read a place.

    Raises:
        Problem: it is none.
    """
    if cursor is None:
        return None
    try:
        at, _, found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").partition(" ")
        return moment_of(at), UUID(found)
    except (ValueError, binascii.Error):
        raise none_of_ours() from None


def cursor_of_texts(*texts: str) -> str:
    """Write down a place that is named by texts."""
    return base64.urlsafe_b64encode(orjson.dumps(texts)).decode().rstrip("=")


def texts_of(cursor: str, count: int) -> list[str]:
    """Read a place that is named by so many texts.

    Raises:
        Problem: it is none.
    """
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        raise none_of_ours() from None
    if not isinstance(found, list) or len(found) != count or not all(isinstance(each, str) for each in found):
        raise none_of_ours()
    return found


def moment_of(text: str) -> datetime:
    """Read the time in a place.

    Raises:
        Problem: it is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise none_of_ours() from None
    if moment.tzinfo is None:
        raise none_of_ours()
    return moment


def none_of_ours() -> Problem:
    """Say that a cursor is none."""
    return Problem(422, "the cursor is none of ours; begin without one")
