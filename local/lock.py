"""One supervisor for one state folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(state, int(file.read() or 0)) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


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
