"""Group commit: callers that come at the same time share one call to what they wait for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import structlog

from mail.errors import Unavailable

T = TypeVar("T")
R = TypeVar("R")

Flush = Callable[[Sequence[T]], Awaitable[Sequence[R]]]
# Takes the answer for an item, or why there is none.
Told = Callable[[R | Exception], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much goes into one flush, and how many flushes run at a time.

    Attributes:
        items: most items of a flush.
        size: their most sizes in all; a larger item goes alone.
        flushes: most flushes at a time.
        eager: below this number of flushes one more starts with whatever waits; from there on only a full one does.
            Few and full flushes cost least, and the next one fills while these are under way.
    """

    items: int
    size: int
    flushes: int = 2
    eager: int = 2


class Batcher(Generic[T, R]):
    """Hands items to `flush` in batches, as soon as one may start; nobody waits for time to pass.

    Args:
        flush: does the work for a batch and answers item by item; what it raises every caller of that batch is told.
        limits: how large a batch may be.
        size: the size of an item, in the unit of `limits.size`.
    """

    def __init__(self, flush: Flush[T, R], limits: Limits, size: Callable[[T], int] = lambda _: 0) -> None:
        self._flush = flush
        self._limits = limits
        self._size = size
        self._waiting: deque[tuple[T, int, Told[R]]] = deque()
        self._waiting_size = 0
        self._flushing = 0
        # Workers that have nothing to do, and whether one of them has been called.
        self._idle: list[asyncio.Future[None]] = []
        self._called = False
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Batcher[T, R]"]:
        """Serve callers until the block ends; what was submitted by then is still flushed."""
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._limits.flushes):
                    workers.create_task(self._work())
                try:
                    yield self
                finally:
                    self._closing = True
                    self._call_all()
        finally:
            while self._waiting:
                self._tell(self._take(), [])

    async def submit(self, item: T) -> R:
        """Put an item into the next batch and wait for its answer; a caller that goes away does not take it back."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self.put(item, partial(_resolve, answer))
        return await answer

    def put(self, item: T, told: Told[R]) -> None:
        """Put an item into the next batch; `told` is called with its answer, later and once."""
        size = self._size(item)
        self._waiting.append((item, size, told))
        self._waiting_size += size
        # Whoever else comes before the worker does, in this turn of the loop, goes along.
        if self._idle and not self._called:
            self._call()

    def _may_start(self) -> bool:
        if not self._waiting:
            return False
        limits = self._limits
        full = len(self._waiting) >= limits.items or self._waiting_size >= limits.size
        return full or self._flushing < limits.eager

    def _call(self) -> None:
        """Have an idle worker begin, if there is one and something for it."""
        if self._idle and self._may_start():
            self._called = True
            self._idle.pop().set_result(None)

    def _call_all(self) -> None:
        while self._idle:
            self._idle.pop().set_result(None)

    async def _work(self) -> None:
        while not (self._closing and not self._waiting):
            if self._may_start():
                await self._run(self._take())
            else:
                call = asyncio.get_running_loop().create_future()
                self._idle.append(call)
                try:
                    await call
                finally:
                    self._called = False
                    if call.cancelled():
                        self._idle.remove(call)
        # The others need wait for nothing more either.
        self._call_all()

    def _take(self) -> list[tuple[T, Told[R]]]:
        batch: list[tuple[T, Told[R]]] = []
        total = 0
        while self._waiting and len(batch) < self._limits.items:
            item, size, told = self._waiting[0]
            if batch and total + size > self._limits.size:
                break
            total += size
            batch.append((item, told))
            self._waiting.popleft()
        self._waiting_size -= total
        return batch

    async def _run(self, batch: list[tuple[T, Told[R]]]) -> None:
        self._flushing += 1
        # There may be enough for another worker, too.
        self._call()
        answers: Sequence[R | Exception] = []
        try:
            answers = await self._flush([item for item, _ in batch])
        except Exception as fault:  # noqa: BLE001 - not swallowed: every caller of the batch is told
            answers = [fault] * len(batch)
        finally:
            self._flushing -= 1
            self._tell(batch, answers)

    def _tell(self, batch: list[tuple[T, Told[R]]], answers: Sequence[R | Exception]) -> None:
        for n, (_, told) in enumerate(batch):
            try:
                told(answers[n] if n < len(answers) else Unavailable("no answer for this item"))
            except Exception:  # noqa: BLE001 - logged; the others of the batch wait for their answers
                structlog.get_logger().exception("answer not taken")


def _resolve(future: asyncio.Future[R], answer: R | Exception) -> None:
    """Let a caller that waits have its answer; one that went away has cancelled its future."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # a caller that goes away now does not make it an exception nobody saw
    else:
        future.set_result(answer)
