"""Processes of an earlier supervisor that was killed: they are ending, and must have ended before we start."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from local.state import Stack, is_running

PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.05


def pids(stack: Stack) -> list[int]:
    """Return the recorded processes that still run and still are what they were."""
    recorded = [(part.pid, part.started_at) for part in stack.parts.values() if part.pid]
    return [pid for pid, started_at in recorded if is_running(pid) and _leads_a_session(pid) and started_at]


def _leads_a_session(pid: int) -> bool:
    """Every part leads a session of its own; a stranger that got the number later hardly does."""
    with suppress(ProcessLookupError, PermissionError):
        return os.getsid(pid) == pid
    return False


def clear(stack: Stack, say: Callable[[str], None], patience: float = PATIENCE_SECONDS) -> None:
    """Wait for them, then kill them."""
    deadline = time.monotonic() + patience
    while (left := pids(stack)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for pid in left:
        say(f"killing process {pid} of an earlier start")
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    while pids(stack):
        time.sleep(POLL_SECONDS)
