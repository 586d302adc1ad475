"""What the local stack reads from the environment of whoever starts it: little, and all of it here."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

ROOT = Path(__file__).resolve().parent.parent
PG_BIN = "SMTP_PROXY_PG_BIN"
# Everything else a child gets is written in `parts.py`: the stack runs the same whoever starts it.
KEPT = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", PG_BIN)
KEPT_PREFIXES = ("COVERAGE_", "COV_")


def inherited() -> dict[str, str]:
    """Return the few variables of our own environment that children may see."""
    everything = os.environ  # noqa: TID251 - this is the room's settings module
    kept = {name: value for name, value in everything.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    # What a part says is in its log at once.
    return {**kept, "PYTHONUNBUFFERED": "1"}


def told(*names: str) -> tuple[str, ...]:
    """Return variables that a step is told by the supervisor."""
    return tuple(os.environ[name] for name in names)  # noqa: TID251 - this is the room's settings module


def overrides(file: Path) -> dict[str, str]:
    """Read a .env file; one that does not exist, or a name without a value, overrides nothing."""
    return {name: value for name, value in dotenv_values(file).items() if value}


def composed(base: Mapping[str, str], defaults: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, str]:
    """Lay the .env over the stack's defaults, but never over what the stack itself has to know (see PINNED)."""
    return {**base, **defaults, **{name: value for name, value in dotenv.items() if name not in PINNED}}


# Doors share the names of the health and web variables, and the ports are chosen once for the whole stack.
PINNED = frozenset({"HEALTH_HOST", "HEALTH_PORT", "RELAY_STARTTLS_PORT", "RELAY_TLS_PORT", "WEB_HOST", "WEB_PORT"})


def python() -> str:
    """Return the interpreter that runs our own modules."""
    return sys.executable


def client() -> str:
    """Return the installed test client as one would type it here."""
    program = Path(sys.executable).with_name("smtp-client")
    here = Path.cwd()
    return str(program.relative_to(here)) if program.is_relative_to(here) else str(program)
