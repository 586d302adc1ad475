"""Ctrl-C, heard even where a library lets it fall."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

# Long enough for a farewell to the server, short enough for whoever pressed the keys.
AGAIN_SECONDS = 1.0


def run(work: Coroutine[Any, Any, None]) -> bool:
    """Run something to its end; False if an interrupt ended it.

    One cancellation is not enough: before Python 3.12, `asyncio.wait_for` loses one that comes in the very moment in
    which what it waits for is there, and aiosmtplib waits so for connections and replies.
    """
    return asyncio.run(_heard(work))


async def _heard(work: Coroutine[Any, Any, None]) -> bool:
    # Who starts us with interrupts ignored, as shells do in the background, wants them ignored.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        await work
        return True
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    again: list[asyncio.TimerHandle] = []

    def interrupt() -> None:
        task.cancel()
        again.append(loop.call_later(AGAIN_SECONDS, interrupt))

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        await asyncio.wait([task])
        if task.cancelled():
            return False
        task.result()
        return not again
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for timer in again:
            timer.cancel()
