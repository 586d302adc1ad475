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
    """How much goes into one flush: items, their sizes in all, and how many flushes run at a time."""

    items: int
    size: int
    flushes: int = 2


class Batcher(Generic[T, R]):
    """Hands items to `flush` in batches, as soon as one may start; nobody waits for a batch to fill.

    Args:
        flush: does the work for a batch and answers item by item; what it raises reaches every caller of that batch.
        limits: how large a batch may be.
        size: the size of an item, in the unit of `limits.size`.
    """

    def __init__(self, flush: Flush[T, R], limits: Limits, size: Callable[[T], int] = lambda _: 0) -> None:
        self._flush = flush
        self._limits = limits
        self._size = size
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._arrived = asyncio.Event()
        self._free = asyncio.Semaphore(limits.flushes)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Batcher[T, R]"]:
        """Serve callers until the block ends; what was submitted by then is still flushed."""
        async with asyncio.TaskGroup() as flushes:
            server = flushes.create_task(self._serve(flushes))
            try:
                yield self
            finally:
                server.cancel()
                while self._waiting:
                    await self._start(flushes)

    async def submit(self, item: T) -> R:
        """Put an item into the next batch and wait for its answer; a caller that goes away does not take it back."""
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, answer))
        self._arrived.set()
        return await asyncio.shield(answer)

    async def _serve(self, flushes: asyncio.TaskGroup) -> None:
        while True:
            await self._arrived.wait()
            await self._start(flushes)

    async def _start(self, flushes: asyncio.TaskGroup) -> None:
        await self._free.acquire()
        batch = self._take()
        if not self._waiting:
            self._arrived.clear()
        if batch:
            flushes.create_task(self._run(batch))
        else:
            self._free.release()

    def _take(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        total = 0
        while self._waiting and len(batch) < self._limits.items:
            size = self._size(self._waiting[0][0])
            if batch and total + size > self._limits.size:
                break
            total += size
            batch.append(self._waiting.popleft())
        return batch

    async def _run(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            answers = await self._flush([item for item, _ in batch])
        except Exception as fault:  # noqa: BLE001 - not swallowed: every caller of the batch gets it
            for _, future in batch:
                future.set_exception(fault)
                future.exception()  # a caller that went away does not make it an exception nobody saw
        else:
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
        finally:
            self._free.release()
