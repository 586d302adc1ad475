"""The one place that reads the environment: the ways a password can come in, and where the profiles are."""

import os
import sys
from pathlib import Path

from client.errors import UsageError

PASSWORD_VARIABLE = "SMTP_CLIENT_PASSWORD"  # noqa: S105 - the variable's name, not a password
CONFIG_VARIABLE = "SMTP_PROXY_CONFIG"


def password(*, given: str | None, file: Path | None, stdin: bool) -> str | None:
    """Return the password from the option that was used, else from the environment."""
    if given is not None:
        return given
    if file is not None:
        return _first_line(_read(file), str(file))
    if stdin:
        return _first_line(sys.stdin.readline(), "standard input")
    return os.environ.get(PASSWORD_VARIABLE)  # noqa: TID251 - this is the client's settings module


def profiles_file() -> Path:
    """Return the file of the profiles of `smtp-proxy`."""
    named = os.environ.get(CONFIG_VARIABLE)  # noqa: TID251 - this is the client's settings module
    return Path(named) if named else Path.home() / ".config" / "smtp-proxy" / "config.toml"


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--password-file {file}: cannot be read: {error}") from error


def _first_line(text: str, source: str) -> str:
    line = text.partition("\n")[0].removesuffix("\r")
    if not line:
        raise UsageError(f"no password in {source}: its first line is empty")
    return line
