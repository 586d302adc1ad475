"""Run a command that ends when its parent does, even after kill -9. Started as a script, so that it starts fast.

Usage: child.py PARENT-PID SIGNAL COMMAND...
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
CANNOT_EXECUTE = 127


def main(arguments: list[str]) -> int:
    """Ask the kernel for the signal, check that the parent is still there, become the command."""
    parent, death_signal, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    # Python ignores it for itself; programs expect the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the parent has chosen the command
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr)
        return CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
