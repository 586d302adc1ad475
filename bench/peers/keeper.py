"""Keeps a server and all its processes in one family: `python -m bench.peers.keeper OUTPUT COMMAND...`.

It starts the command, whose words go to the file OUTPUT, when it is sent a line. Processes that leave their parents
become its own children, so that their time is counted and none of them outlives it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.peers.family import family

# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAUSE = 0.02


def _prepare() -> None:
    # Ctrl-C goes to the bench as well, which then ends this program in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    process = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_PDEATHSIG, signal.SIGTERM)):
        if process.prctl(option, value, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def _wait_for_all() -> None:
    """Wait for each child until there is none."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _end_all() -> None:
    """End whatever came from this process and still lives."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    me = os.getpid()
    while left := [pid for pid in family(me) if pid != me]:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(_PAUSE)


def main(output: Path, command: Sequence[str]) -> None:
    """Run the command and wait for all that comes from it, or end it all on SIGTERM."""
    _prepare()
    if not sys.stdin.readline():
        return
    try:
        with output.open("wb") as file:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        _wait_for_all()
    finally:
        _end_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
