"""Reads keys and secrets, which neither the command line nor the environment may carry."""

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from client.api.errors import UsageError

_COMMAND_SECONDS: Final = 60
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def from_file(name: str) -> str:
    """Read a file that nobody else may read; `-` is standard input. A line's end at its end is no part of it.

    Raises:
        UsageError: others may read or write it, or it has nothing.
    """
    if name == "-":
        return _told(sys.stdin.read(), "standard input")
    try:
        with Path(name).expanduser().open(encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & _OTHERS:
                raise UsageError(f"{name}: its mode is {mode:04o}, so that others reach it: chmod 600 {name}")
            return _told(opened.read(), name)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is no text in UTF-8") from None


def from_command(words: Sequence[str]) -> str:
    """Run a program that prints a secret, as password managers do.

    Raises:
        UsageError: it cannot be started, fails, or prints nothing.
    """
    try:
        # The user's own file names the program.
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise UsageError(f"key_command {words[0]}: it ended with {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise UsageError(f"key_command {words[0]}: {type(error).__name__}") from None
    return _told(done.stdout, f"what {words[0]} prints")


def as_key(secret: str, source: str) -> str:
    """Give a secret that can stand in a header.

    Raises:
        UsageError: it cannot.
    """
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise UsageError(f"{source}: is no key: one word of printable ASCII")
    return secret


def _told(text: str, source: str) -> str:
    secret = text.rstrip("\r\n")
    if not secret:
        raise UsageError(f"{source}: is empty")
    return secret
