"""Waiting for a condition, with a deadline instead of a guess."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Ask every 20 ms; fail with a sentence when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
