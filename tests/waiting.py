"""Waiting for a condition, with a deadline instead of a guess."""

import asyncio
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Ask every 20 ms; fail with a sentence when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is tested has no event for each thing a test may wait for
            await asyncio.sleep(0.005)
