"""The worker's side of the queue: receiving, finishing in batches, giving back."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from backing.batch import Batcher, Limits
from backing.sqs import MAX_BATCH, Queue, Received
from mail.errors import Unavailable

# Giving back for longer than this would only keep a message in flight; in-flight messages are limited.
MAX_DELAY_SECONDS = 900.0


class Inbox:
    """Messages of the queue.

    Args:
        queue: where they come from.
        poll_seconds: how long to wait for some.
        lease_seconds: how long they stay hidden from others.
    """

    def __init__(self, queue: Queue, poll_seconds: int, lease_seconds: float) -> None:
        self._queue = queue
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
        if not messages:
            return
        try:
            refusals = await self._queue.release([each.handle for each in messages], min(seconds, MAX_DELAY_SECONDS))
        except Unavailable as fault:
            refusals = [str(fault)]
        for refusal in filter(None, refusals):
            self._log.warning("message not released", reason=refusal)
