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
        sha256: digest of its content, without what we put before it.
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
        texts = [credential.hex, "key", marks.chosen]
    elif marks.message_id:
        # Neither a path nor a digest has a NUL, and the Message-ID comes last.
        texts = [credential.hex, "message", mail_from, *sorted(recipients), marks.sha256.hex(), marks.message_id]
    else:
        return None
    return hashlib.sha256("\0".join(texts).encode()).digest()
