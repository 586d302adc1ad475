"""Where the bodies of messages go that are too large for the queue."""

import asyncio
from typing import Protocol
from uuid import UUID

import structlog
from typing_extensions import override

from mail.job import StoredBody
from relay.intake.content import BodyUpload, Shelf


class BodyStore(Protocol):
    """What takes bodies too large for the queue: `backing.s3.Bodies`."""

    async def put(self, message_id: UUID, body: bytes) -> StoredBody:
        """Store a body. Raises `Unavailable`."""

    def upload(self, message_id: UUID, tasks: asyncio.TaskGroup) -> BodyUpload:
        """Begin to store a body of which the end is not known."""


class Place(Shelf):
    """The place of one message's body in the bucket.

    Args:
        bodies: the bucket.
        message_id: names the body.
        tasks: whose tasks uploads and aborts are; the session may be gone by then.
    """

    def __init__(self, bodies: BodyStore, message_id: UUID, tasks: asyncio.TaskGroup) -> None:
        self._bodies = bodies
        self._message_id = message_id
        self._tasks = tasks

    @override
    def upload(self) -> BodyUpload:
        return self._bodies.upload(self._message_id, self._tasks)

    @override
    def give_up(self, upload: BodyUpload) -> None:
        self._tasks.create_task(self._abort(upload))

    async def _abort(self, upload: BodyUpload) -> None:
        try:
            await upload.abort()
        except Exception as fault:  # noqa: BLE001 - the edge of a task: the bucket forgets what is left behind
            structlog.get_logger().warning("upload not aborted", message=str(self._message_id), reason=str(fault))
