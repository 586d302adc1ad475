"""The content of one message while it comes in: checked, hashed, and kept in memory or, if it is large, in S3."""

import hashlib
from typing import Protocol

from mail.errors import Unavailable
from mail.headers import header_block
from mail.job import MAX_INLINE_BODY, StoredBody
from relay import replies
from relay.intake.budget import Budget
from relay.intake.data import LineEnds

_LINE_END = b"\r\n"


class BodyUpload(Protocol):
    """What takes a large body piece by piece: `backing.s3.Upload`."""

    @property
    def held(self) -> int:
        """Octets in memory."""

    async def write(self, piece: bytes) -> None:
        """Take the next piece. Raises `Unavailable`."""

    async def complete(self) -> StoredBody:
        """Store what is left. Raises `Unavailable`."""

    async def abort(self) -> None:
        """Give up. Raises `Unavailable`."""


class Shelf(Protocol):
    """Where the bodies of a message go that are too large for the queue."""

    def upload(self) -> BodyUpload:
        """Begin to store the body."""

    def give_up(self, upload: BodyUpload) -> None:
        """Let an upload be aborted by and by."""


class Content:
    """Takes the pieces of a message; whatever becomes of it, `discard` ends it.

    What cannot become a message any more is read to its end and kept nowhere. A message that does not end in CRLF is
    completed: no other server would get it otherwise, and what is hashed and stored is what will be delivered.

    Args:
        head: what is delivered before the content: our Received header.
        limit: most octets of the content.
        line_ends: what is done about bare CR and LF.
        budget: counts the octets that all messages hold in memory.
        shelf: where a large body goes.

    Attributes:
        head: octets of our header.
        size: octets of the body as it will be delivered, so far, with our header.
        eight_bit: whether any of them is above 127.
    """

    __slots__ = (
        "_budget", "_counted", "_digest", "_ended", "_headers", "_held", "_last",
        "_limit", "_line_ends", "_octets", "_shelf", "_trouble", "_upload", "eight_bit", "head", "size",
    )  # fmt: skip

    def __init__(self, head: bytes, limit: int, line_ends: LineEnds, budget: Budget, shelf: Shelf) -> None:
        self.head = self.size = len(head)
        self._limit = limit
        self._line_ends = line_ends
        self._budget = budget
        self._shelf = shelf
        # Most messages come in one piece, and are held as that; of more pieces an array is made.
        self._held: bytes | bytearray = head
        self._counted = 0
        self._headers: bytes | None = None
        self._upload: BodyUpload | None = None
        self._trouble: Exception | None = None
        self._octets = 0
        self._last = b""
        self._ended = False
        self._digest = hashlib.sha256()
        self.eight_bit = False

    @property
    def sha256(self) -> bytes:
        """Digest of the content as it will be delivered, so far, without the head."""
        return self._digest.digest()

    @property
    def headers(self) -> bytes:
        """The client's header block, so far."""
        if self._headers is not None:
            return self._headers
        return header_block(self._held, self.head)

    @property
    def inline(self) -> bool:
        """Whether all of it is in memory."""
        return self._upload is None

    @property
    def body(self) -> bytes:
        """What is in memory of the body as it will be delivered; all of it, once `end` was told, if it is inline."""
        return bytes(self._held)

    @property
    def doomed(self) -> bool:
        """Whether it cannot become a message any more."""
        return self._octets > self._limit or self._line_ends.fault is not None or self._trouble is not None

    def check(self) -> None:
        """Say why it cannot become a message, if it cannot.

        Raises:
            Refused: 552 5.3.4, it is too large; 550 5.6.0, it has octets that a message may not have.
            Unavailable: it could not be kept.
        """
        if self._octets > self._limit:
            raise replies.too_large(self._limit)
        if self._line_ends.fault:
            raise replies.refusal(self._line_ends.fault)
        if self._trouble:
            raise self._trouble

    def take(self, piece: bytes) -> bool:
        """Take the next piece; whether it has to be stored before the next one.

        Faults are for the end to tell, since the client speaks until then.
        """
        good = self._line_ends.take(piece)
        self._octets += len(good)
        if self._octets > self._limit or self._line_ends.fault or self._trouble:
            self.discard()
            return False
        if not good:
            return False
        if self.size > self.head and isinstance(self._held, bytes):
            self._held = bytearray(self._held)
        self._note(good)
        self._held += good
        if self._upload is not None or len(self._held) > MAX_INLINE_BODY:
            return True
        self._count(len(self._held))
        return False

    async def store(self) -> None:
        """Put what is held into the bucket; the first time, all that has come."""
        try:
            if self._upload is None:
                self._headers = self.headers
                self._upload = self._shelf.upload()
            upload, piece, self._held = self._upload, bytes(self._held), b""
            await upload.write(piece)
            self._count(upload.held)
        except Exception as fault:  # noqa: BLE001 - raised by `check`: to break off now would leave the stream out of step
            self._trouble = fault
            self.discard()

    async def write(self, piece: bytes) -> None:
        """Take the next piece, and store it if it has to be."""
        if self.take(piece):
            await self.store()

    def end(self) -> None:
        """Take the end; may be told twice.

        Raises:
            Refused, Unavailable: as `check` says.
        """
        if self._ended:
            return
        rest = self._line_ends.end()
        if self._line_ends.fault or self._trouble or self._octets > self._limit:
            self.check()
        self._ended = True
        if self._octets and (self._last + rest)[-2:] != _LINE_END:
            rest += _LINE_END
        if rest:
            self._note(rest)
            self._held += rest

    async def finish(self) -> StoredBody | None:
        """Take the end; give where the body lies, or None where all of it is in memory.

        Raises:
            Refused, Unavailable: as `check` says.
        """
        self.end()
        if self._upload is None:
            # No upload begins for the sake of two octets.
            return None
        if self._held:
            await self._upload.write(bytes(self._held))
        place = await self._upload.complete()
        self._upload = None
        return place

    def discard(self) -> None:
        """Let go of all that is held; an upload that is not complete is aborted."""
        upload, self._upload = self._upload, None
        self._held = b""
        self._budget.held -= self._counted
        self._counted = 0
        if upload:
            self._shelf.give_up(upload)

    def _note(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.size += len(piece)
        self._last = (self._last + piece)[-2:] if len(piece) == 1 else piece[-2:]
        self.eight_bit = self.eight_bit or not piece.isascii()

    def _count(self, octets: int) -> None:
        """Note how many octets the message holds from now on; where that is too much of them it has to go."""
        budget = self._budget
        budget.held += octets - self._counted
        self._counted = octets
        if budget.held > budget.most:
            self._trouble = Unavailable("too many octets of messages in memory")
            self.discard()
