"""What a server of many processes takes of the machine: those that live, and those that have ended."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench import machine

_TICKS = os.sysconf("SC_CLK_TCK")
_PAUSE = 0.2
_QUIET_SECONDS = 0.002
_MOST_PAUSES = 50
# A process may end between being seen and being read.
_ENDED = (FileNotFoundError, ProcessLookupError)


def family(pid: int) -> Iterator[int]:
    """A process, and all that came from it and live."""
    yield pid
    with suppress(*_ENDED):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text("ascii").split():
                yield from family(int(child))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all that came from it, once they rest.

    A client has its last reply before the server has put everything away, and a process that ends hands its time to
    its parent; so this waits until two readings say the same.
    """
    taken = _reading(pid)
    for _ in range(_MOST_PAUSES):
        time.sleep(_PAUSE)
        before, taken = taken, _reading(pid)
        if abs(taken - before) < _QUIET_SECONDS:
            break
    return taken


def _reading(pid: int) -> float:
    seconds = 0.0
    for member in family(pid):
        with suppress(*_ENDED):
            seconds += machine.cpu_seconds(member) + _of_ended_children(member)
    return seconds


def _of_ended_children(pid: int) -> float:
    """Time of the children that a process has waited for, and of theirs."""
    # The name of the program stands in parentheses and may hold anything; cutime and cstime are the 16th and 17th.
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS
