"""What an operator does with dead letters: look at what the delivery queue has given up, bring it back, drop it.

SQS has no way to look without receiving. What is looked at is hidden from others meanwhile, and given back at the end;
of a command that is killed, it comes back by itself.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from backing.admin.desk import NotFound
from backing.sqs import MAX_BATCH, Queue, Received
from mail.errors import Unavailable

REASON: Final = "Reason"  # the attribute that the worker sets, `worker.inbox`
TOO_OFTEN: Final = "received too often"
# How long a message is hidden while it is looked at, and how long the queue is asked for one more.
_LEASE_SECONDS: Final = 120.0
_WAIT_SECONDS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message of the dead-letter queue.

    Attributes:
        id: SQS's name for it.
        message: id of the job in it, where one can be read; account: whose it is.
        reason: why it is here.
        queued_at: when it was put on the queue; on this one if the worker did it, else on the delivery queue.
        size: octets of its text.
    """

    id: str
    message: UUID | None
    account: UUID | None
    reason: str
    queued_at: datetime
    receives: int
    size: int

    @property
    def subject(self) -> str:
        """What the audit log calls it: by its message, if that is known."""
        return str(self.message or self.id)


# Writes down, before it is done, what is done with a letter; when it raises, it is not done.
Note = Callable[[DeadLetter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Redriven:
    """What became of a redrive: letters that are on the delivery queue again, and those that came back meanwhile."""

    done: int
    came_back: int


@dataclass(slots=True)
class _Walk:
    """A walk through the dead-letter queue: the handles of what it holds, and the ids of what it has met."""

    held: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


class DeadLetters:
    """The dead-letter queue of the delivery queue.

    Every method raises `Unavailable` when SQS does not answer; nothing is lost then, and what was done stays done.

    Args:
        dead: the dead-letter queue.
        delivery: where letters go back to.
    """

    def __init__(self, dead: Queue, delivery: Queue) -> None:
        self._dead = dead
        self._delivery = delivery

    async def some(self, most: int) -> list[DeadLetter]:
        """Look at some dead letters, those first that were queued first."""
        async with self._walking() as walk:
            found = [_letter(message) async for message in self._all(walk, most)]
        return sorted(found, key=lambda letter: letter.queued_at)

    async def redrive(self, wanted: Collection[str] | None, note: Note) -> Redriven:
        """Bring letters back to the delivery queue as they are.

        Each is sent before it is deleted: a crash between repeats it, and a job that comes twice is sent once.

        Args:
            wanted: ids of letters or of their messages, or None for all that are there.
            note: called for each.

        Raises:
            AdminError: there is no such letter; others were brought back.
        """
        chosen = None if wanted is None else {each.lower() for each in wanted}
        missing = set(chosen or ())
        redriven: set[bytes] = set()
        done = came_back = 0
        async with self._walking() as walk:
            async for message in self._all(walk):
                letter = _letter(message)
                names = {letter.id, str(letter.message)}
                if chosen is not None and not names & chosen:
                    continue
                text = hashlib.sha256(message.text.encode()).digest()
                if text in redriven:
                    # The worker has set it aside again; without an end, both of us would go on.
                    came_back += 1
                    continue
                await note(letter)
                await self._bring_back(message, letter)
                del walk.held[message.id]
                redriven.add(text)
                missing -= names
                done += 1
                if chosen is not None and not missing:
                    break
        if missing:
            raise NotFound(f"{_done(done)}there is no dead letter {', '.join(sorted(missing))}", _LISTED)
        return Redriven(done, came_back)

    async def drop(self, wanted: str, note: Note) -> DeadLetter:
        """Delete a letter for good.

        Args:
            wanted: id of the letter or of its message.
            note: called for it.

        Raises:
            AdminError: there is no such letter.
        """
        async with self._walking() as walk:
            async for message in self._all(walk):
                letter = _letter(message)
                if wanted.lower() in {letter.id, str(letter.message)}:
                    await note(letter)
                    await self._delete(message)
                    del walk.held[message.id]
                    return letter
        raise NotFound(f"there is no dead letter {wanted}", _LISTED)

    @asynccontextmanager
    async def _walking(self) -> AsyncIterator[_Walk]:
        """Give back at the end whatever is still held."""
        walk = _Walk()
        try:
            yield walk
        finally:
            handles = list(walk.held.values())
            for start in range(0, len(handles), MAX_BATCH):
                try:
                    await self._dead.release(handles[start : start + MAX_BATCH])
                except Unavailable:
                    break  # they come back by themselves

    async def _all(self, walk: _Walk, most: int | None = None) -> AsyncIterator[Received]:
        """Receive each message once, until there are no more; a walk that takes long meets its first ones again."""
        while most is None or len(walk.seen) < most:
            some = MAX_BATCH if most is None else most - len(walk.seen)
            messages = await self._dead.look(some, _WAIT_SECONDS, _LEASE_SECONDS)
            walk.held |= {message.id: message.handle for message in messages}
            fresh = [message for message in messages if message.id not in walk.seen]
            if not fresh:
                return
            walk.seen |= {message.id for message in fresh}
            for message in fresh:
                yield message

    async def _bring_back(self, message: Received, letter: DeadLetter) -> None:
        group = message.group or (str(letter.account) if letter.account else None)
        await self._delivery.put(message.text, group=group)
        await self._delete(message)

    async def _delete(self, message: Received) -> None:
        (refusal,) = await self._dead.delete([message.handle])
        if refusal:
            raise Unavailable(f"SQS DeleteMessage {message.id}: {refusal}")


_LISTED: Final = "`deadletters list` shows those there are"


def _done(count: int) -> str:
    return f"{count} brought back, but " if count else ""


def _letter(message: Received) -> DeadLetter:
    job = _job(message.text)
    return DeadLetter(
        id=message.id,
        message=_uuid(job.get("id")),
        account=_uuid(job.get("account_id")),
        reason=message.attributes.get(REASON) or TOO_OFTEN,
        queued_at=message.queued_at,
        receives=message.receives,
        size=len(message.text.encode()),
    )


def _job(text: str) -> dict[str, Any]:
    """What can be read of a job that a worker may not be able to read."""
    try:
        found = orjson.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
