"""The command line as values."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from local.settings import ROOT

BACKING = ("postgres", "valkey", "aws", "sink", "provisioning", "migrations", "certificates")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a stack is to be started.

    Attributes:
        only: parts to start, with all they need; empty means all.
        free_ports: take ports that nobody uses instead of the usual ones.
        fast: give up durability for speed, for stacks that are thrown away.
        reload: restart a door when its sources change.
        rsa: make an RSA 2048 certificate instead of ECDSA P-256.
        hosts: host names that the certificate has beside this machine's own.
        check_seconds: between health checks.
        follow_parent: stop when the process that started us is gone.
    """

    state: Path = ROOT / ".local"
    only: tuple[str, ...] = ()
    free_ports: bool = False
    fast: bool = False
    reload: bool = False
    rsa: bool = False
    hosts: tuple[str, ...] = ()
    check_seconds: float = 3.0
    follow_parent: bool = False

    def command_line(self) -> tuple[str, ...]:
        """Return the words that say the same to `python -m local up`."""
        flags = {
            "--free-ports": self.free_ports,
            "--fast": self.fast,
            "--reload": self.reload,
            "--rsa": self.rsa,
            "--follow-parent": self.follow_parent,
        }
        only = ("--only", ",".join(self.only)) if self.only else ()
        hosts = ("--hosts", ",".join(self.hosts)) if self.hosts else ()
        given = tuple(flag for flag, is_set in flags.items() if is_set)
        return ("--state", str(self.state), "--check-seconds", str(self.check_seconds), *only, *hosts, *given)


def options(asked: argparse.Namespace) -> Options:
    """Turn parsed arguments of `up` or `demo` into options."""
    return Options(
        state=asked.state,
        only=BACKING if asked.backing else tuple(name for name in asked.only.split(",") if name),
        free_ports=asked.free_ports,
        fast=asked.fast,
        reload=asked.reload,
        rsa=asked.rsa,
        hosts=tuple(name for name in asked.hosts.split(",") if name),
        check_seconds=asked.check_seconds,
        follow_parent=asked.follow_parent,
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with 2 and says what was expected."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole product on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything")
    up.add_argument("--detach", action="store_true", help="return when all is healthy, leave it running")
    demo = commands.add_parser("demo", help="start it if need be, send real mail through it, show what happened")
    demo.add_argument("--keep", action="store_true", help="leave the stack running afterwards")
    status = commands.add_parser("status", help="show what runs, where, and how it is")
    status.add_argument("--json", action="store_true", help="for programs")
    down = commands.add_parser("down", help="stop everything")
    logs = commands.add_parser("logs", help="show what the parts say")
    logs.add_argument("part", nargs="?", help="default: all of them")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=20, help="last lines of each (default: 20)")
    trust = commands.add_parser("trust", help="print how to have this system trust the development authority")
    admin = commands.add_parser("admin", help="run the operator's command, `python -m backing`, against it")
    admin.add_argument("words", nargs=argparse.REMAINDER, help="as in: account list")
    for starting in (up, demo):
        _starting(starting)
    for command in (up, demo, status, down, logs, trust, admin):
        command.add_argument(
            "--state", type=_folder, default=ROOT / ".local", help="folder that holds all of it (default: .local)"
        )
    return parser.parse_args(arguments)


def _starting(command: argparse.ArgumentParser) -> None:
    parts = command.add_mutually_exclusive_group()
    parts.add_argument("--only", default="", metavar="PART,...", help="start these parts and what they need")
    parts.add_argument("--backing", action="store_true", help="start everything but the doors")
    command.add_argument("--free-ports", action="store_true", help="take free ports instead of the usual ones")
    command.add_argument("--fast", action="store_true", help="no fsync: for stacks that are thrown away")
    command.add_argument("--reload", action="store_true", help="restart a door when its sources change")
    command.add_argument("--rsa", action="store_true", help="RSA 2048 certificate instead of ECDSA P-256")
    command.add_argument("--hosts", default="", metavar="NAME,...", help="more names for the certificate")
    command.add_argument("--check-seconds", type=float, default=3.0, help="between health checks (default: 3)")
    command.add_argument("--follow-parent", action="store_true", help="stop when whoever started this is gone")


def _folder(text: str) -> Path:
    return Path(text).resolve()
