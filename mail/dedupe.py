"""Recognising a message that was submitted before, because the client never saw our 250.

The same credential sending the same message to the same envelope again within the window is one submission. A message
with neither an idempotency key nor a Message-ID is always new: two equal cron mails are two mails.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

IDEMPOTENCY_HEADER = "X-Idempotency-Key"
WINDOW_SECONDS = 86_400


class Marks(NamedTuple):
    """What tells a message from others.

    Attributes:
        chosen: its X-Idempotency-Key, or None.
        message_id: its Message-ID, or None.
        sha256: digest of the message without what we put before it.
    """

    chosen: str | None
    message_id: str | None
    sha256: bytes


def dedupe_key(credential: UUID, mail_from: str, recipients: Iterable[str], marks: Marks) -> bytes | None:
    """Key of a submission, 32 octets, or None when nothing identifies the message.

    Args:
        credential: who submits; keys of different credentials never meet.
        mail_from: the reverse path.
        recipients: the forward paths, in any order.
        marks: of the message.
    """
    if marks.chosen:
        return _digest(credential.bytes, b"key", marks.chosen.encode())
    if not marks.message_id:
        return None
    envelope = "\0".join([mail_from, *sorted(recipients)])
    return _digest(credential.bytes, b"message", marks.message_id.encode(), envelope.encode(), marks.sha256)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join([len(part).to_bytes(4, "big") + part for part in parts])).digest()
