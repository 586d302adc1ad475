"""What Postfix and Exim have in common: how to find one, start it, and tell why it does not start."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.relay_messages import Door

_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
_START_SECONDS = 10
_PAUSE = 0.05


class CannotStart(Exception):  # noqa: N818 - it is an outcome to tell of, not a fault
    """A server is installed but does not start here; why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that may be installed here.

    Attributes:
        programs: what its program may be called.
        terms: how it takes messages, as far as that differs from the relay.
        running: runs the program with the relay's certificate until the block ends.
    """

    name: str
    programs: tuple[str, ...]
    terms: str
    running: Callable[[str, Door], AbstractContextManager[Door]]

    def installed(self) -> str | None:
        """The path of its program."""
        found = (shutil.which(name) or shutil.which(name, path=_SBIN) for name in self.programs)
        return next(filter(None, found), None)


def answer(*words: str) -> str:
    """What a command of the server prints."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotStart(_last_line(done.stderr) or f"{words[0]} ended with {done.returncode}")
    return done.stdout.strip()


def require_root() -> None:
    """Both change users while they run, which only root may do."""
    if os.geteuid() != 0:
        raise CannotStart("only root can start it")


def free_ports(number: int) -> list[int]:
    """Ports on the loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def served(folder: Path, words: Sequence[str], port: int) -> Iterator[int]:
    """Run a server until the block ends; the process that all of its processes come from."""
    core, _ = machine.cores()
    with machine.program(core, "bench.peers.keeper", str(folder / "outputlog"), *words) as keeper:
        # Only now does it start anything, so that everything it starts is on those processors.
        machine.tell(keeper)
        until = time.monotonic() + _START_SECONDS
        while not _greets(port):
            if keeper.poll() is not None or time.monotonic() > until:
                raise CannotStart(_reason(folder))
            time.sleep(_PAUSE)
        yield keeper.pid


def _greets(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), _START_SECONDS) as connection:
        greeted = connection.recv(4) == b"220 "
        connection.sendall(b"QUIT\r\n")
        return greeted
    return False


def _reason(folder: Path) -> str:
    """The last fault that the server wrote of, or else the last thing that it wrote."""
    logs = sorted((path for path in folder.rglob("*log") if path.is_file()), key=lambda path: path.stat().st_mtime)
    text = "\n".join(path.read_text("utf-8", "replace") for path in logs)
    faults = "\n".join(line for line in text.splitlines() if "fatal:" in line)
    return _last_line(faults) or _last_line(text) or f"no greeting in {_START_SECONDS} seconds, and no word why"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
