"""One supervisor for one state folder."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

LOOKS = 5
LOOK_SECONDS = 0.02


class AlreadyRunning(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """Another supervisor holds the folder."""

    def __init__(self, state: Path, pid: int) -> None:
        super().__init__(
            f"the stack in {state} already runs (pid {pid}); `python -m local status` shows it, "
            "`python -m local down` stops it"
        )


@contextmanager
def held(state: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel gives it up when we end, however that happens.

    Raises:
        AlreadyRunning: somebody else holds it.
    """
    with (state / "lock").open("a+") as file:
        if not _taken(file):
            file.seek(0)
            raise AlreadyRunning(state, int(file.read() or 0))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    """Take the lock; whoever merely looks who has it holds it for a moment, too."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        else:
            return True
    return False


def holder(state: Path) -> int | None:
    """Return the pid of the supervisor that holds the folder, None if it is free."""
    try:
        file = (state / "lock").open("r")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0)
    return None
