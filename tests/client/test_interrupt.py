import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from client import interrupt


@pytest.fixture(autouse=True)
def interruptible() -> Any:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(work: Coroutine[Any, Any, None]) -> bool:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    return not interrupt.run(work)


def test_what_ends_by_itself_was_not_interrupted() -> None:
    assert interrupt.run(asyncio.sleep(0))


def test_an_interrupt_ends_what_waits() -> None:
    assert interrupted(asyncio.sleep(60))


def test_an_interrupt_that_was_lost_comes_again() -> None:
    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    assert interrupted(deaf())


def test_a_fault_is_not_taken_for_an_interrupt() -> None:
    async def faulty() -> None:
        raise ConnectionError("no")

    with pytest.raises(ConnectionError, match="no"):
        interrupt.run(faulty())
