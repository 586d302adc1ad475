"""Values of the operator's command line, read and checked."""

import argparse
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backing.ids import now
from mail.accounts import Network
from mail.markers import MARKER

MAX_FILE: Final = 1 << 20
_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
Verbs = Callable[..., argparse.ArgumentParser]


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that was named; None takes it away."""

    value: object


def lines(option: str, path: Path | str) -> list[str]:
    """Give the lines of a file, at least one; `-` is standard input.

    Raises:
        ValueError: it cannot be read.
    """
    return text_of(option, path).replace("\r\n", "\n").split("\n")


def text_of(option: str, path: Path | str) -> str:
    """Give the text of a file; `-` is standard input.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return sys.stdin.read() if str(path) == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{option} {path}: is not UTF-8 text") from None


def document(option: str, path: Path | str) -> dict[str, Any]:
    """Give the JSON object in a file; `-` is standard input.

    Raises:
        ValueError: it cannot be read, or is none.
    """
    text = text_of(option, path)
    if len(text) > MAX_FILE:
        raise ValueError(f"{option} {path}: has {len(text)} characters; {MAX_FILE} at most")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{option} {path}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{option} {path}: is no JSON object")  # noqa: TRY004 - a value, as all that is read here
    return found


def pairs(option: str, given: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Give what was named as KEY=VALUE.

    Raises:
        ValueError: a key was named twice.
    """
    found: dict[str, Any] = {}
    for key, value in given:
        if key in found:
            raise ValueError(f"{option} {key}: is given twice")
        found[key] = value
    return found


def pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE, the value as JSON where it is JSON and as text where not."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no KEY=VALUE")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        return key, value


def number(least: int, most: int) -> Callable[[str], int]:
    """Read a whole number within limits."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {least} to {most}")
        return int(text)

    return read


def setting(read: Callable[[str], object], none: str) -> Callable[[str], Setting]:
    """Read a value, or the word that takes it away."""

    def either(text: str) -> Setting:
        return Setting(None if text == none else read(text))

    return either


def stream(text: str) -> str:
    """Read the name of a stream, as messages may have it."""
    if not MARKER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no stream; expected up to 64 letters, digits and . _ -")
    return text


def network(text: str) -> Network:
    """Read a network or an address."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; expected a network as in 192.0.2.0/24") from None


def moment(text: str) -> datetime:
    """Read a time: as in ISO 8601, UTC where it does not say; or how long ago it was, as in 90m, 2h, 7d."""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            return now() - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; expected 2026-11-24, 2026-11-24T12:00:00Z, or how long ago: 90m, 2h, 7d"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def day(text: str) -> datetime:
    """Read the beginning of a day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; expected YYYY-MM-DD") from None
