"""Group commit: callers that come at the same time share one call to what they wait for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

Flush = Callable[[Sequence[T]], Awaitable[Sequence[R]]]


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
        flush: does the work for a batch and answers item by item; what it raises reaches every caller of that batch.
        limits: how large a batch may be.
        size: the size of an item, in the unit of `limits.size`.
    """

    def __init__(self, flush: Flush[T, R], limits: Limits, size: Callable[[T], int] = lambda _: 0) -> None:
        self._flush = flush
        self._limits = limits
        self._size = size
        self._waiting: deque[tuple[T, int, asyncio.Future[R]]] = deque()
        self._waiting_size = 0
        self._running = 0
        self._due = False
        self._flushes = asyncio.TaskGroup()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Batcher[T, R]"]:
        """Serve callers until the block ends; what was submitted by then is still flushed."""
        async with self._flushes:
            try:
                yield self
            finally:
                # A flush starts the ones after it.
                self._start()

    async def submit(self, item: T) -> R:
        """Put an item into the next batch and wait for its answer; a caller that goes away does not take it back."""
        return await self.put(item)

    def put(self, item: T) -> asyncio.Future[R]:
        """Put an item into the next batch; give what its answer comes in, which the caller may end before."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        size = self._size(item)
        self._waiting.append((item, size, answer))
        self._waiting_size += size
        if not self._due and self._may_start():
            # Not at once: whoever else has come in this turn of the loop goes along.
            self._due = True
            loop.call_soon(self._start)
        return answer

    def _may_start(self) -> bool:
        limits = self._limits
        if not self._waiting or self._running >= limits.flushes:
            return False
        full = len(self._waiting) >= limits.items or self._waiting_size >= limits.size
        return full or self._running < limits.eager

    def _start(self) -> None:
        self._due = False
        while self._may_start():
            self._running += 1
            self._flushes.create_task(self._run(self._take()))

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        total = 0
        while self._waiting and len(batch) < self._limits.items:
            item, size, answer = self._waiting[0]
            if batch and total + size > self._limits.size:
                break
            total += size
            batch.append((item, answer))
            self._waiting.popleft()
        self._waiting_size -= total
        return batch

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._flush([item for item, _ in batch])
            # A caller that went away has cancelled its future.
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        except Exception as fault:  # noqa: BLE001 - not swallowed: every caller of the batch gets it
            for _, future in batch:
                if not future.done():
                    future.set_exception(fault)
                    future.exception()  # a caller that goes away now does not make it an exception nobody saw
        finally:
            for _, future in batch:
                future.cancel()
            self._running -= 1
            self._start()
