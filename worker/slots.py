"""How many messages are in hand, and how many more may be."""

import asyncio

# A busy worker frees slots one by one; waiting a moment for some more makes one call to the queue out of ten.
_GATHER_SECONDS = 0.02


class Slots:
    """A counted set of places; one taker at a time."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._changed = asyncio.Event()

    async def take(self, most: int) -> int:
        """Take up to `most` places, and at least one."""
        wanted = 0
        # There may be fewer places all at once.
        while wanted < 1:
            wanted = min(most, self._total)
            await self._until(1)
            try:
                async with asyncio.timeout(_GATHER_SECONDS):
                    await self._until(wanted)
            except TimeoutError:
                wanted = min(wanted, self._free)
        self._free -= wanted
        return wanted

    def give(self, count: int) -> None:
        """Give places back."""
        self._free += count
        self._changed.set()

    def resize(self, total: int) -> None:
        """Have so many places from now on; what is in hand beyond them stays in hand until it is done."""
        self._free += total - self._total
        self._total = total
        self._changed.set()

    async def all_free(self) -> None:
        """Wait until nothing is in hand."""
        while self._free < self._total:
            await self._change()

    async def _until(self, free: int) -> None:
        while self._free < free:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
