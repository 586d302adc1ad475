"""Recipients that an account does not send to, refused at RCPT without asking the database for every other one."""

import asyncio
import time
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final, Protocol
from uuid import UUID

import structlog

from backing.postgres.suppressions import Hashes
from mail.accounts import Suppression, address_hash, address_key
from mail.errors import Reply, Unavailable

FRESH_SECONDS: Final = 60.0
READ_SECONDS: Final = 30.0
# How long a database that did not answer is left alone.
ASK_AGAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the lists may take.

    Attributes:
        hashes: most of all accounts together, 8 octets each. What finds no room passes here; the worker looks again.
        later: new ones beside a sorted list, until it is read as a whole again.
        confirm_seconds: longest wait for the answer about one address.
        first_seconds: longest wait of a recipient for a list that was never read, since its account has just come.
    """

    hashes: int = 2_000_000
    later: int = 10_000
    confirm_seconds: float = 1.0
    first_seconds: float = 0.5


class Lists(Protocol):
    """Where the lists are kept. Each method raises `Unavailable` when it is not there."""

    async def hashes(self, account_id: UUID, most: int) -> Hashes:
        """Give the hashes of a list, in order."""

    async def later_hashes(self, account_id: UUID, since: str, most: int) -> Hashes | None:
        """Give those that came later, or None where the whole list is to be read."""

    async def find(self, account_id: UUID, address: str) -> Suppression | None:
        """Give what is known about a suppressed address."""


@dataclass(slots=True)
class _List:
    used: float
    checked: float = float("-inf")
    values: "array[int]" = field(default_factory=lambda: array("q"))
    later: set[int] = field(default_factory=set)
    since: str = ""
    # Set once there was an attempt to read it.
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self.values) + len(self.later)

    def has(self, address: str) -> bool:
        """Whether an address is on it; one in 10^13 others seems to be, too."""
        if not (self.values or self.later):
            return False
        number = address_hash(address_key(address))
        at = bisect_left(self.values, number)
        return (at < len(self.values) and self.values[at] == number) or number in self.later


class SuppressionLists:
    """Knows the lists of the accounts that send.

    A list that is not here refuses nobody: the worker looks again before it sends.

    Args:
        lists: where they are kept.
        clock: seconds that only ever grow.
        bounds: what it may take.
    """

    def __init__(self, lists: Lists, clock: Callable[[], float] = time.monotonic, bounds: Bounds | None = None) -> None:
        self._lists = lists
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._known: dict[UUID, _List] = {}
        # In the order they were asked for.
        self._wanted: dict[UUID, None] = {}
        self._called = asyncio.Event()
        self._ask_at = float("-inf")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SuppressionLists"]:
        """Read lists in the background until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read_wanted())
            try:
                yield self
            finally:
                reader.cancel()

    def watch(self, account_id: UUID) -> "_List":
        """Have the list of an account that sends at hand, and give it; to be called at each sign-in."""
        now = self._clock()
        known = self._known.get(account_id)
        if known is None:
            known = self._known[account_id] = _List(now)
        known.used = now
        if now - known.checked >= FRESH_SECONDS:
            self._want(account_id)
        return known

    def refresh(self, account_id: UUID) -> None:
        """Read what is new: a notice says that the list has changed."""
        if account_id in self._known:
            self._want(account_id)

    def refresh_all(self) -> None:
        """Read what is new in every list: notices may have been missed."""
        for account_id in self._known:
            self._want(account_id)

    def suspects(self, account_id: UUID, address: str) -> bool:
        """Whether an address is suppressed, as far as the list is here; one in 10^13 others is suspected, too."""
        return self.watch(account_id).has(address)

    def unsure(self, account_id: UUID, address: str) -> bool:
        """Whether `objection` has to be asked: for a suspected address, and for any before the first look at a list."""
        known = self.watch(account_id)
        return not known.tried.is_set() or known.has(address)

    async def objection(self, account_id: UUID, address: str) -> Reply | None:
        """Say why a recipient is refused: 550 5.1.1, with the date and the reason."""
        known = self.watch(account_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.first_seconds):
                await known.tried.wait()
        if not self.suspects(account_id, address) or self._clock() < self._ask_at:
            return None
        try:
            async with asyncio.timeout(self._bounds.confirm_seconds):
                found = await self._lists.find(account_id, address)
        except (Unavailable, TimeoutError):
            self._ask_at = self._clock() + ASK_AGAIN_SECONDS
            return None
        if found is None:
            return None
        return Reply(
            550,
            "5.1.1",
            f"{address} suppressed since {found.since.astimezone(UTC).date().isoformat()} ({found.reason})",
        )

    def _want(self, account_id: UUID) -> None:
        self._wanted[account_id] = None
        self._called.set()

    async def _read_wanted(self) -> None:
        while True:
            await self._called.wait()
            self._called.clear()
            while self._wanted:
                account_id = next(iter(self._wanted))
                del self._wanted[account_id]
                # Whatever comes of it: not again at once, unless a notice says so.
                known = self._known[account_id]
                known.checked = self._clock()
                try:
                    async with asyncio.timeout(READ_SECONDS):
                        await self._read(account_id)
                except (Unavailable, TimeoutError) as fault:
                    structlog.get_logger().warning("suppression list not read", reason=str(fault) or "timeout")
                except Exception:  # noqa: BLE001 - logged with its traceback
                    # The edge of the reader: one list that breaks it may not keep the others from being read.
                    structlog.get_logger().exception("suppression list not read")
                finally:
                    known.tried.set()

    async def _read(self, account_id: UUID) -> None:
        known = self._known[account_id]
        if known.since:
            new = await self._lists.later_hashes(account_id, known.since, self._bounds.later - len(known.later))
            if new is not None:
                known.later.update(new.values)
                known.since = new.since
                return
        whole = await self._lists.hashes(account_id, self._bounds.hashes)
        known.values, known.since, known.later = whole.values, whole.since, set()
        self._make_room(account_id)

    def _make_room(self, account_id: UUID) -> None:
        """Drop the lists that were not used for the longest time."""
        total = sum(map(len, self._known.values()))
        for other in sorted(self._known, key=lambda other: self._known[other].used):
            if total <= self._bounds.hashes:
                return
            if other != account_id:
                total -= len(self._known.pop(other))
                self._wanted.pop(other, None)
