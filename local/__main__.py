"""`python -m local`: the whole product on this machine."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import NoReturn

from local import logs, settings, stack, state, table
from local.arguments import options, parse
from local.demo import demo
from local.lock import AlreadyRunning
from local.parts import DOORS, Door
from local.places import Places
from local.ports import NoFreePorts
from local.postgres import NoPostgres
from local.state import PartStatus, Stack
from local.supervisor import Audience, supervise
from local.trust import ways


def main(arguments: list[str], doors: Iterable[Door] = DOORS, program: str = stack.PROGRAM) -> int:
    """Do what the command line says; `program` is the module that starts a stack of these doors in the background."""
    asked = parse(arguments)
    commands: dict[str, Callable[[], int]] = {
        "up": lambda: _up_detached(asked, program) if asked.detach else _up(asked, doors),
        "demo": lambda: _demo(asked, program),
        "status": lambda: _status(asked),
        "down": lambda: _down(asked),
        "admin": lambda: _admin(asked),
        "trust": lambda: _trust(asked),
        "logs": lambda: logs.show(Places(asked.state).log, asked.part, asked.lines, follow=asked.follow),
    }
    try:
        return commands[asked.command]()
    except (AlreadyRunning, NoPostgres, NoFreePorts, stack.NeverStarted, stack.NotStarted, stack.NotStopped) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read us, `head` for one, has seen enough; the last flush must not complain again.
        sys.stdout = None  # what Python itself does where there is no output
        return 0


def _up(asked: argparse.Namespace, doors: Iterable[Door]) -> int:
    ended = supervise(options(asked), Audience(_changed, table.welcome, _say), doors)
    if ended.failure:
        print(f"error: {ended.failure}", file=sys.stderr)
        return 1
    return 0


def _up_detached(asked: argparse.Namespace, program: str) -> int:
    table.welcome(stack.start(options(asked), program))
    print("`python -m local status` shows how it is, `python -m local down` stops it.")
    return 0


def _demo(asked: argparse.Namespace, program: str) -> int:
    """Use the stack that runs, else start one and stop it afterwards, unless it shall be kept."""
    was_up = stack.is_up(asked.state)
    if not was_up:
        _say("\nStarting PostgreSQL, Valkey, the AWS APIs, a mail sink, relay, worker, API and console ...")
    used = stack.describe(asked.state) if was_up else stack.start(options(asked), program)
    try:
        return asyncio.run(demo(used))
    finally:
        if not was_up and not asked.keep:
            stack.stop(asked.state)


def _status(asked: argparse.Namespace) -> int:
    """Show it; 0 if it runs and all is well, 3 if something is not (as `systemctl status` does)."""
    is_up = stack.is_up(asked.state)
    found = state.observed(stack.describe(asked.state), is_up=is_up)
    if asked.json:
        print(json.dumps({**asdict(found), "up": is_up}, indent=2, default=str))
    else:
        table.status(found, is_up=is_up)
    return 0 if is_up and _is_well(found) else 3


def _is_well(found: Stack) -> bool:
    return all(part.state in state.READY for part in found.parts.values())


def _down(asked: argparse.Namespace) -> int:
    print("stopped" if stack.stop(asked.state) else "nothing runs")
    return 0


def _trust(asked: argparse.Namespace) -> int:
    ca = Places(asked.state).certificates / "ca.pem"
    if not ca.exists():
        print(f"error: there is no {ca} yet; `python -m local up` makes it", file=sys.stderr)
        return 1
    _say(ways(ca))
    return 0


def _admin(asked: argparse.Namespace) -> NoReturn:
    """Become the operator's command, in the environment of a stack; Ctrl-C is then for the command alone."""
    environment = settings.inherited() | stack.describe(asked.state).environment
    os.chdir(settings.ROOT)
    command = [settings.python(), "-m", "backing", *asked.words]
    os.execve(command[0], command, environment)  # noqa: S606 - the command is our own


def _changed(name: str, status: PartStatus) -> None:
    """Print changes that matter: good ends and trouble."""
    if status.state in state.READY:
        seconds = (status.ready_at or 0) - (status.started_at or 0)
        _say(f"{name:<13} {status.state} ({seconds:.1f} s)")
    elif status.state in {"backoff", "unhealthy", "failed", "stopped"}:
        _say(f"{name:<13} {status.state}{': ' if status.reason else ''}{status.reason}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
