"""Reads what people write on a command line as what the API takes."""

import json
import re
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from client.api.errors import UsageError

_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_NOTHING: Final = "none"


def text(written: str) -> str:
    """Take it as it is."""
    return written


def or_none(written: str) -> str | None:
    """Take a text; `none` is null."""
    return None if written == _NOTHING else written


def number(written: str) -> int:
    """Read a whole number."""
    try:
        return int(written)
    except ValueError:
        raise ArgumentTypeError(f"{written!r} is no whole number") from None


def number_or_none(written: str) -> int | None:
    """Read a whole number; `none` is null."""
    return None if written == _NOTHING else number(written)


def yes(written: str) -> bool:
    """Read yes or no."""
    if written not in {"yes", "no"}:
        raise ArgumentTypeError(f"{written!r} is neither yes nor no")
    return written == "yes"


def document(written: str) -> Any:
    """Read JSON."""
    try:
        return json.loads(written)
    except ValueError as error:
        raise ArgumentTypeError(f"no JSON: {error}") from None


def moment(written: str) -> str:
    """Read a time: RFC 3339, or how long ago it is, as in 30m, 2h or 7d."""
    ago = _AGO.fullmatch(written)
    if ago is None:
        return written
    past = timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    try:
        return (datetime.now(UTC) - past).isoformat(timespec="seconds").replace("+00:00", "Z")
    except OverflowError:
        raise ArgumentTypeError(f"{written!r} is too long ago") from None


def pair(written: str) -> dict[str, Any]:
    """Read KEY=VALUE: the value is JSON if it can be read as such, else a text."""
    key, equals, value = written.partition("=")
    if not key or not equals:
        raise ArgumentTypeError(f"{written!r} is not KEY=VALUE")
    try:
        return {key: json.loads(value)}
    except ValueError:
        return {key: value}


def header(written: str) -> dict[str, str]:
    """Read 'NAME: VALUE'."""
    name, colon, value = written.partition(":")
    if not name or not colon:
        raise ArgumentTypeError(f"{written!r} is not 'NAME: VALUE'")
    return {name: value.strip()}


def etag(written: str) -> str:
    """Read an ETag, with or without its quotes; `*` is any."""
    return written if written == "*" or '"' in written else f'"{written}"'


def quota(written: str) -> dict[str, dict[str, int | None]]:
    """Read WINDOW:UNIT=LIMIT, as in day:messages=10000; `none` takes it away."""
    found = re.fullmatch(r"([a-z]+):([a-z]+)=(\w+)", written)
    if found is None:
        raise ArgumentTypeError(f"{written!r} is not WINDOW:UNIT=LIMIT, as in day:messages=10000")
    return {found[1]: {found[2]: number_or_none(found[3])}}


def octets(name: str) -> bytes:
    """Read a file; `-` is standard input."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error


def body(name: str) -> dict[str, Any]:
    """Read a file of one JSON object; `-` is standard input."""
    try:
        found = json.loads(octets(name))
    except ValueError as error:
        raise UsageError(f"{name}: is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{name}: is no JSON object")
    return found
