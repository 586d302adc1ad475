"""Let a process run half of the time: `python -m bench.half PID`, until it is told to end.

As a container with half a processor has it, whose scheduler takes turns of 100 ms; these are shorter.
"""

import os
import signal
import sys
import time
from itertools import count

TURN_SECONDS = 0.01


def alternate(pid: int) -> None:
    """Halt and release a process in turns; each turn begins when it is due, however late the last one was."""
    began = time.monotonic()
    for turn in count(1):
        os.kill(pid, signal.SIGSTOP if turn % 2 else signal.SIGCONT)
        time.sleep(max(began + turn * TURN_SECONDS - time.monotonic(), 0))


def main(pid: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        alternate(pid)
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main(int(sys.argv[1]))
