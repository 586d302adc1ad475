"""Counts what accounts send against their quotas, together with all who take mail, without a wait on its way."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter

from backing.cache import Cache, Command, tally
from mail.accounts import Account, Quota, Unit, Window
from mail.errors import Reply, Unavailable
from mail.quotas import Span, Standing, amount, exceeded, span_at

EXCHANGE_SECONDS: Final = 1.0
# An account that nothing is known of does not wait for the next exchange, but even those come together.
_STRANGER_SECONDS: Final = 0.05
# How often counts of accounts that are not in use are told again, in case the cache forgot them.
_REMINDER_SECONDS: Final = 60.0
_LAST_EXCHANGE_SECONDS: Final = 1.0
_BATCH: Final = 50
MAX_ACCOUNTS: Final = 10_000
# The cache keeps a count for an hour longer than its window: clocks differ a little.
_GRACE_SECONDS: Final = 3600


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Count:
    """What was counted in one window: by this relay, and by the others as far as they have told."""

    span: Span
    own: int = 0
    others: int = 0
    warned: bool = False


_Counts = list[tuple[Quota, _Count]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A count as it is told to the cache."""

    count: _Count
    own: int
    command: Command


@dataclass(slots=True)
class _Book:
    """The counts of one account; its name in the cache is new whenever it begins at 0."""

    account: UUID
    source: str = field(default_factory=lambda: secrets.token_hex(8))
    counts: dict[tuple[Window, Unit], _Count] = field(default_factory=dict)

    def count(self, quota: Quota, now: datetime) -> _Count:
        """Give the count that a quota limits now; a new window begins with nothing."""
        key = (quota.window, quota.unit)
        count = self.counts.get(key)
        if count is None or now >= count.span.end:
            count = self.counts[key] = _Count(span_at(quota.window, now))
        return count

    def entries(self, now: datetime) -> Iterator[_Entry]:
        """Give what is to be told of the windows that last."""
        for (window, unit), count in self.counts.items():
            if now < count.span.end:
                key = f"quota:{self.account}:{window}:{count.span.start:%Y%m%dT%H}:{unit}"
                until = int(count.span.end.timestamp()) + _GRACE_SECONDS
                yield _Entry(count, count.own, tally(key, self.source, count.own, until))


class Quotas:
    """Holds accounts to their quotas.

    Each relay counts by itself at once. Once a second the relays tell the cache what each of them has counted for the
    accounts in use, and learn the totals; so what is sent above a quota is at most what the other relays take in about
    a second. While the cache is away each relay knows its own count and what the others had counted before.

    Args:
        cache: where the relays meet.
        refusals: counts what was refused, by window and unit.
        clock: the time, in UTC.
        every: seconds between exchanges.
    """

    def __init__(
        self,
        cache: Cache,
        refusals: Counter,
        clock: Callable[[], datetime] = _now,
        every: float = EXCHANGE_SECONDS,
    ) -> None:
        self._cache = cache
        self._refusals = refusals
        self._clock = clock
        self._every = every
        self._books: dict[UUID, _Book] = {}
        self._due: dict[UUID, _Book] = {}
        self._used = asyncio.Event()
        self._stranger = asyncio.Event()
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Quotas"]:
        """Exchange counts with the other relays until the block ends, and once more then."""
        async with asyncio.TaskGroup() as tasks:
            exchange = tasks.create_task(self._keep_exchanging())
            try:
                yield self
            finally:
                exchange.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_EXCHANGE_SECONDS):
                await self._exchange()

    def know(self, account: Account) -> None:
        """Fetch what the other relays have counted; for an account that signs in, and without a wait."""
        self._counts(account)

    def objection(self, account: Account, recipients: int = 0) -> Reply | None:
        """Give what there is against one more message.

        Args:
            account: who sends it.
            recipients: how many it has so far, with the one that is asked about; at MAIL there is none yet.
        """
        return self._refusal(self._counts(account), max(recipients, 1))

    def take(self, account: Account, recipients: int) -> Reply | None:
        """Count a message that is about to be committed, or give what there is against it."""
        counts = self._counts(account)
        refusal = self._refusal(counts, recipients)
        if refusal is None:
            for quota, count in counts:
                count.own += amount(quota.unit, recipients)
                if not count.warned and (standing := _standing(quota, count)).alarming:
                    count.warned = True
                    self._warn(account, standing)
        return refusal

    def give_back(self, account: Account, recipients: int) -> None:
        """Count a message no longer: its commit failed.

        One that was taken in a window and failed in the next is forgiven there.
        """
        for quota, count in self._counts(account):
            count.own = max(count.own - amount(quota.unit, recipients), 0)

    def _refusal(self, counts: _Counts, recipients: int) -> Reply | None:
        full = exceeded([_standing(quota, count) for quota, count in counts], recipients)
        if full is None:
            return None
        self._refusals.labels(full.quota.window, full.quota.unit).inc()
        return full.reply

    def _counts(self, account: Account) -> _Counts:
        """Give the counts of an account's quotas; whoever asks for them has it exchanged."""
        if not account.quotas:
            return []
        book, now = self._book(account.id), self._clock()
        return [(quota, book.count(quota, now)) for quota in account.quotas]

    def _book(self, account: UUID) -> _Book:
        book = self._books.pop(account, None)
        if book is None:
            book = _Book(account)
            self._stranger.set()
            if len(self._books) >= MAX_ACCOUNTS:
                oldest = next(iter(self._books))
                del self._books[oldest]
                self._due.pop(oldest, None)
        # The least recently used stands first.
        self._books[account] = book
        self._due[account] = book
        self._used.set()
        return book

    def _warn(self, account: Account, standing: Standing) -> None:
        """Say that a quota is nearly used."""
        self._log.warning(
            "quota nearly used",
            account=account.name,
            window=standing.quota.window,
            unit=standing.quota.unit,
            used=standing.used,
            limit=standing.quota.limit,
            resets=standing.span.end.isoformat(),
        )

    async def _keep_exchanging(self) -> None:
        loop = asyncio.get_running_loop()
        remind_at = loop.time() + _REMINDER_SECONDS
        while True:
            await _set_within(self._used, _REMINDER_SECONDS)
            if loop.time() >= remind_at:
                remind_at = loop.time() + _REMINDER_SECONDS
                self.remind()
            self._used.clear()
            self._stranger.clear()
            await self._exchange()
            await asyncio.sleep(_STRANGER_SECONDS)
            await _set_within(self._stranger, self._every - _STRANGER_SECONDS)

    def remind(self) -> None:
        """Have everything told again that still counts, in case the cache forgot it; forget what no longer does."""
        now = self._clock()
        for account, book in list(self._books.items()):
            if any(now < count.span.end for count in book.counts.values()):
                self._due[account] = book
                self._used.set()
            else:
                del self._books[account]

    async def _exchange(self) -> None:
        """Tell the cache our counts and learn the totals; what cannot be told now is told next time."""
        while self._due:
            books = list(islice(self._due.values(), _BATCH))
            # What is counted while we wait for the answers makes its account due again.
            for book in books:
                del self._due[book.account]
            entries = [entry for book in books for entry in book.entries(self._clock())]
            try:
                totals = await self._cache.ask([entry.command for entry in entries]) if entries else []
            except (Unavailable, asyncio.CancelledError) as fault:
                self._due = {book.account: book for book in books} | self._due
                self._used.set()
                if isinstance(fault, Unavailable):
                    return
                raise
            for entry, total in zip(entries, totals, strict=True):
                entry.count.others = max(int(total) - entry.own, 0)


def _standing(quota: Quota, count: _Count) -> Standing:
    return Standing(quota, count.own + count.others, count.span)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
