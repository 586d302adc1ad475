"""What providers tell after the send: SES's events from their queue, and events that came too early once more."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from backing.aftermath import Aftermath
from backing.postgres.events import Events
from backing.sqs import MAX_BATCH, Queue, Received
from mail.errors import Unavailable
from mail.events import ses
from mail.events.event import BadCall, ProviderEvent, Told

LEASE_SECONDS = 60.0
# A message that cannot be read is moved aside by the queue, after a few times with this pause.
MALFORMED_SECONDS = 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 15.0
_ROUND = 200
# Batches at a time: most of a batch's time is spent waiting for SQS and PostgreSQL.
_LANES = 2


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message of the queue, and what it tells."""

    message: Received
    told: Told


class EventConsumer:
    """Takes SES's events from their queue.

    Args:
        queue: where they are; it moves aside by itself what was received too often.
        events: where they go.
        aftermath: tells of them.
        poll_seconds: how long to wait for some.
    """

    def __init__(self, queue: Queue, events: Events, aftermath: Aftermath, poll_seconds: int) -> None:
        self._queue = queue
        self._events = events
        self._aftermath = aftermath
        self._poll_seconds = poll_seconds
        self._polling: set[asyncio.Task[Any] | None] = set()
        self._ending = False
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self, soon: asyncio.Event) -> AsyncIterator["EventConsumer"]:
        """Work until the block ends; what is in hand then is received again, and found recorded or not.

        Args:
            soon: when it is set, nothing more is received.
        """
        async with asyncio.TaskGroup() as tasks:
            lanes = [tasks.create_task(self._lane(soon)) for _ in range(_LANES)]
            try:
                yield self
            finally:
                self._ending = True
                # What a poll that nobody waits for is given stays hidden for a lease: one that is under way may end.
                for lane in lanes:
                    if lane not in self._polling:
                        lane.cancel()

    async def _lane(self, soon: asyncio.Event) -> None:
        wait = 0.0
        while not (soon.is_set() or self._ending):
            try:
                await self.round()
                wait = 0.0
            except Unavailable as fault:
                wait = min(wait * 2 or _FIRST_WAIT, _LONGEST_WAIT)
                self._log.warning("events queue away", reason=str(fault))
            except Exception:  # noqa: BLE001 - the loop's edge: one batch must not end all others
                wait = _LONGEST_WAIT
                self._log.exception("events failed")
            if not self._ending:
                await asyncio.sleep(wait)

    async def round(self) -> int:
        """Receive messages once and deal with them; gives how many.

        Raises:
            Unavailable: the queue did not answer.
        """
        messages = await self._receive()
        if messages and self._ending:
            await self._queue.release([message.handle for message in messages], 0)
            return 0
        letters = [letter for message in messages if (letter := self._read(message))]
        done = await self._record(letters)
        finished = [letter.message.handle for letter in done if not letter.told.faults]
        kept = {message.handle for message in messages} - set(finished)
        if finished:
            await self._queue.delete(finished)
        if kept:
            await self._queue.release(sorted(kept), MALFORMED_SECONDS)
        return len(messages)

    async def _receive(self) -> Sequence[Received]:
        task = asyncio.current_task()
        self._polling.add(task)
        try:
            return await self._queue.receive(MAX_BATCH, self._poll_seconds, LEASE_SECONDS)
        finally:
            self._polling.discard(task)

    def _read(self, message: Received) -> _Letter | None:
        try:
            told = ses.parse(message.text)
        except BadCall as bad:
            told = Told(faults=(bad.reason,))
        self._aftermath.read(told)
        if told.faults:
            # Whatever else it tells is recorded; a second time is no harm.
            self._log.error("event refused", reasons=list(told.faults[:5]), receives=message.receives)
        return _Letter(message, told) if told.events or not told.faults else None

    async def _record(self, letters: Sequence[_Letter]) -> list[_Letter]:
        """Record letters, all together if that goes; gives those that are dealt with."""
        if not letters:
            return []
        try:
            return await self._patiently(letters)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - one that cannot be recorded must not keep the others
            if len(letters) == 1:
                self._log.exception("event not recorded", receives=letters[0].message.receives)
                return []
        return [done for letter in letters for done in await self._record([letter])]

    async def _patiently(self, letters: Sequence[_Letter]) -> list[_Letter]:
        """Record letters, however long the database is away: being received again counts against a message."""
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._record_now(letters)
            except Unavailable as fault:
                self._log.warning("events wait for the database", count=len(letters), reason=str(fault))
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            await self._queue.release([letter.message.handle for letter in letters], LEASE_SECONDS)

    async def _record_now(self, letters: Sequence[_Letter]) -> list[_Letter]:
        events = [event for letter in letters for event in letter.told.events]
        owners = await self._events.ses_providers(events) if events else []
        for provider_id in {owner for owner in owners if owner}:
            theirs = [event for event, owner in zip(events, owners, strict=True) if owner == provider_id]
            await self._aftermath.recorded(await self._events.record(provider_id, theirs))
        nobodys = {event for event, owner in zip(events, owners, strict=True) if owner is None}
        return [letter for letter in letters if not self._puzzling(letter, nobodys)]

    def _puzzling(self, letter: _Letter, nobodys: AbstractSet[ProviderEvent]) -> bool:
        """Whether a message is about mail of ours, and yet nobody can say through whom it went; others are dropped."""
        foreign = [event for event in letter.told.events if event in nobodys]
        ours = [event for event in foreign if event.message_id]
        self._aftermath.foreign(len(foreign))
        if ours:
            self._log.error("event of an unknown provider", message=str(ours[0].message_id), channel=ours[0].channel)
        return bool(ours)


class EventKeeper:
    """Looks again at events that came before what they are about, and forgets old ones; any number of workers may.

    Args:
        events: where they are.
        aftermath: tells of them.
        every: seconds between rounds.
        age_seconds: age at which events are removed.
    """

    def __init__(self, events: Events, aftermath: Aftermath, every: float, age_seconds: float) -> None:
        self._events = events
        self._aftermath = aftermath
        self._every = every
        self._age_seconds = age_seconds
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Do rounds until cancelled."""
        while True:
            try:
                await self.round()
            except Unavailable as fault:
                self._log.warning("events put off", reason=str(fault))
            except Exception:  # noqa: BLE001 - the loop's edge: early events must not wait for a restart
                self._log.exception("events not looked at again")
            await asyncio.sleep(self._every)

    async def round(self) -> int:
        """Look again at all that is due; gives how many events were.

        Raises:
            Unavailable: the database did not answer.
        """
        total = 0
        while found := await self._events.rematch(_ROUND):
            await self._aftermath.recorded(found, again=True)
            total += len(found)
            if len(found) < _ROUND:
                break
        await self._events.forget(self._age_seconds, _ROUND)
        return total
