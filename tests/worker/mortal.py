"""A worker that dies, as by kill -9, once its tasks went on N times: `python -m tests.worker.mortal N`."""

import asyncio
import contextvars
import os
import signal
import sys
from collections.abc import Coroutine, Generator
from typing import Any

import uvloop

from backing import log
from backing.settings import read
from worker.__main__ import main
from worker.settings import WorkerSettings


class Life:
    """How many more times a task may be resumed."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine that costs life each time it goes on from an await."""

    def __init__(self, inner: Coroutine[Any, Any, Any], life: Life) -> None:
        self._inner = inner
        self._life = life

    def send(self, value: Any) -> Any:
        self._life.step()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        self._life.step()
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


async def live(steps: int) -> None:
    life = Life(steps)

    def factory(
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,
        context: contextvars.Context | None = None,
    ) -> "asyncio.Task[Any]":
        return asyncio.Task(Counted(coroutine, life), loop=loop, context=context)

    asyncio.get_running_loop().set_task_factory(factory)
    await main(read(WorkerSettings))


if __name__ == "__main__":
    log.configure("worker", "INFO")
    uvloop.run(live(int(sys.argv[1])))
