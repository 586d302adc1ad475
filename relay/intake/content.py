"""The content of one message while it comes in: checked, hashed, and kept in memory or, if it is large, in S3."""

import hashlib
from typing import Protocol

from mail.errors import Unavailable
from mail.headers import header_block
from mail.job import MAX_INLINE_BODY, StoredBody
from relay import replies
from relay.intake.budget import Share
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
        share: counts the octets held in memory.
        shelf: where a large body goes.
    """

    def __init__(self, head: bytes, limit: int, line_ends: LineEnds, share: Share, shelf: Shelf) -> None:
        self._head_octets = len(head)
        self._limit = limit
        self._line_ends = line_ends
        self._share = share
        self._shelf = shelf
        self._held = bytearray(head)
        self._headers: bytes | None = None
        self._upload: BodyUpload | None = None
        self._trouble: Exception | None = None
        self._octets = 0
        self._kept = len(head)
        self._last = b""
        self._as_sent = hashlib.sha256()
        self._as_delivered = hashlib.sha256(head)
        self.eight_bit = False

    @property
    def size(self) -> int:
        """Octets of the body as it will be delivered, so far."""
        return self._kept

    @property
    def sha256(self) -> bytes:
        """Digest of the body as it will be delivered, so far."""
        return self._as_delivered.digest()

    @property
    def sha256_as_sent(self) -> bytes:
        """Digest of the content alone, so far."""
        return self._as_sent.digest()

    @property
    def headers(self) -> bytes:
        """The client's header block, so far."""
        if self._headers is not None:
            return self._headers
        return header_block(self._held, self._head_octets)

    @property
    def inline(self) -> bool:
        """Whether it is all in memory, so that to finish it waits for nothing."""
        return self._upload is None

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

    async def write(self, piece: bytes) -> None:
        """Take the next piece; faults are for the end to tell, since the client speaks until then."""
        good = self._line_ends.take(piece)
        self._octets += len(good)
        if self.doomed:
            self.discard()
        elif good:
            await self._keep(good)

    async def finish(self) -> bytes | StoredBody:
        """Take the end; give the body as it will be delivered, or where it lies.

        Raises:
            Refused, Unavailable: as `check` says.
        """
        rest = self._line_ends.end()
        self.check()
        if self._octets and (self._last + rest)[-2:] != _LINE_END:
            rest += _LINE_END
        if rest:
            self._note(rest)
        if self._upload is None:
            # No upload begins for the sake of two octets.
            self._held += rest
            return bytes(self._held)
        if rest:
            await self._upload.write(rest)
        place = await self._upload.complete()
        self._upload = None
        return place

    def discard(self) -> None:
        """Let go of all that is held; an upload that is not complete is aborted."""
        upload, self._upload = self._upload, None
        self._held = bytearray()
        self._share.hold(0)
        if upload:
            self._shelf.give_up(upload)

    def _note(self, piece: bytes) -> None:
        self._as_sent.update(piece)
        self._as_delivered.update(piece)
        self._kept += len(piece)
        self._last = (self._last + piece)[-2:] if len(piece) == 1 else piece[-2:]
        self.eight_bit = self.eight_bit or not piece.isascii()

    async def _keep(self, piece: bytes) -> None:
        self._note(piece)
        if self._upload is None:
            self._held += piece
            self._share.hold(len(self._held))
        if self._upload is not None or len(self._held) > MAX_INLINE_BODY:
            try:
                await self._put(piece)
            except Exception as fault:  # noqa: BLE001 - raised by `check`: to break off now would leave the stream out of step
                self._trouble = fault
        if self._share.refused:
            self._trouble = Unavailable("too many octets of messages in memory")
        if self._trouble:
            self.discard()

    async def _put(self, piece: bytes) -> None:
        """Put a piece into the bucket; the first time, all that is held."""
        if self._upload is None:
            self._headers = self.headers
            self._upload = self._shelf.upload()
            piece, self._held = bytes(self._held), bytearray()
        upload = self._upload
        await upload.write(piece)
        self._share.hold(upload.held)
