"""The account that a stack comes with. `python -m local.tenant STATE SINK_PORT`, told the product's environment."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from local import settings
from local.places import Places
from local.ports import LOOPBACK
from local.private import write_private

NAME = "local"
# Whose keys for the API and the console a stack comes with, and what makes them.
KEYS = {"operator": (), "account": ("--account", NAME)}
DOMAINS = ("local.example", "*.local.example")


class NoTenant(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The account could not be made; keeps what the operator's command said."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who may send through this stack; the password lies in a file of its own."""

    username: str
    sink: int


def password_file(state: Path) -> Path:
    """Return the file whose first line is the SMTP password, 0600."""
    return Places(state).secrets / "smtp-password"


def key_file(state: Path, whose: str) -> Path:
    """Return the file whose first line is a key for the API and the console, 0600."""
    return Places(state).secrets / f"{whose}-key"


def of(state: Path) -> Tenant | None:
    """Return the account of a stack; None if it has none yet."""
    try:
        document = json.loads(_file(state).read_text())
    except FileNotFoundError:
        return None
    return Tenant(document["username"], document["sink"])


def _file(state: Path) -> Path:
    return Places(state).secrets / "smtp-account.json"


def settle(state: Path, sink: int) -> str:
    """Make the account at the first start; later, follow the sink if it has moved to another port."""
    tenant, smtp = of(state), ("--smtp", f"{LOOPBACK}:{sink}", "--smtp-tls", "none")
    if tenant is None:
        domains = [word for domain in DOMAINS for word in ("--domain", domain)]
        made = _backing("account", "create", NAME, *domains, "--username", NAME, *smtp, "--json")
        if made.returncode:
            # An earlier start was cut off before it had kept the password.
            made = _done(_backing("credential", "create", NAME, "--json"))
        issued = json.loads(made.stdout)
        write_private(password_file(state), f"{issued['secret']}\n")
        tenant = Tenant(issued["username"], -1)
    for whose, words in KEYS.items():
        if not key_file(state, whose).exists():
            made = _done(_backing("key", "create", "local", *words, "--json"))
            write_private(key_file(state, whose), f"{json.loads(made.stdout)['key']}\n")
    if tenant.sink != sink:
        _done(_backing("account", "provider", NAME, *smtp))
    write_private(_file(state), json.dumps({"username": tenant.username, "sink": sink}) + "\n")
    return f"account {NAME}, user {tenant.username}, delivers to {LOOPBACK}:{sink}"


def _backing(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [settings.python(), "-m", "backing", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=settings.ROOT)


def _done(run: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    if run.returncode:
        raise NoTenant(run.stderr.strip())
    return run


def main(arguments: list[str]) -> int:
    """Settle the account."""
    try:
        print(settle(Path(arguments[0]), int(arguments[1])))
    except NoTenant as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
