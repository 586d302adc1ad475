"""The worker's side of the queue: receiving, finishing in batches, giving back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from backing.batch import Batcher, Limits
from backing.sqs import MAX_BATCH, Queue, Received
from mail.errors import Unavailable

# Giving back for longer than this would only keep a message in flight; in-flight messages are limited.
MAX_DELAY_SECONDS = 900.0
# Between the receives of a message that the queue is to move aside by itself.
_REFUSED_SECONDS = 1.0


class Inbox:
    """Messages of the queue.

    Args:
        queue: where they come from.
        poll_seconds: how long to wait for some.
        lease_seconds: how long they stay hidden from others.
        aside: where messages go that nobody can read; without it the queue moves them after a few receives.
    """

    def __init__(self, queue: Queue, poll_seconds: int, lease_seconds: float, aside: Queue | None = None) -> None:
        self._queue = queue
        self._aside = aside
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._deletes: Batcher[str, str | None] = Batcher(queue.delete, Limits(items=MAX_BATCH, size=MAX_BATCH))
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Inbox"]:
        """Finish messages until the block ends."""
        async with self._deletes.running():
            yield self

    async def receive(self, most: int) -> list[Received]:
        """Wait for messages, up to ten.

        Raises:
            Unavailable: SQS did not answer.
        """
        return await self._queue.receive(most, self._poll_seconds, self._lease_seconds)

    async def done(self, message: Received) -> None:
        """Take a message off the queue; one that stays comes again, is found finished, and is taken off then."""
        try:
            refusal = await self._deletes.submit(message.handle)
        except Unavailable as fault:
            refusal = str(fault)
        if refusal:
            self._log.warning("message stays on the queue", reason=refusal)

    async def later(self, messages: Sequence[Received], seconds: float = 0) -> None:
        """Let messages come again after a while; those that SQS would not release come when their lease ends."""
        for start in range(0, len(messages), MAX_BATCH):
            batch = [each.handle for each in messages[start : start + MAX_BATCH]]
            try:
                refusals = await self._queue.release(batch, min(seconds, MAX_DELAY_SECONDS))
            except Unavailable as fault:
                refusals = [str(fault)]
            for refusal in filter(None, refusals):
                self._log.warning("message not released", reason=refusal)

    async def put_off(self, message: Received, seconds: float) -> None:
        """Let a message come again as a new one, so that the times it came so far do not count against it."""
        try:
            await self._queue.put(message.text, delay_seconds=min(seconds, MAX_DELAY_SECONDS), group=message.group)
        except Unavailable as fault:
            self._log.warning("message not put off", reason=str(fault))
            await self.later([message], seconds)
        else:
            await self.done(message)

    async def set_aside(self, message: Received, reason: str) -> None:
        """Put a message that nobody can read into the dead-letter queue, with the reason; it can be redriven."""
        if self._aside is None:
            await self.later([message], _REFUSED_SECONDS)
            return
        try:
            await self._aside.put(message.text, attributes={"Reason": reason})
        except Unavailable as fault:
            self._log.warning("message left to the queue", reason=str(fault))
            await self.later([message], _REFUSED_SECONDS)
        else:
            await self.done(message)
