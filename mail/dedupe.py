"""Recognising a message that was submitted before, because the client never saw our 250.

The same credential sending the same message to the same envelope again within the window is one submission. A message
with neither an idempotency key nor a Message-ID is always new: two equal cron mails are two mails.
"""

import hashlib
from collections.abc import Iterable
from uuid import UUID

from mail.headers import find_header

IDEMPOTENCY_HEADER = "X-Idempotency-Key"
WINDOW_SECONDS = 86_400


def dedupe_key(credential: UUID, mail_from: str, recipients: Iterable[str], body: bytes) -> bytes | None:
    """Key of a submission, 32 octets, or None when nothing identifies the message.

    Args:
        credential: who submits; keys of different credentials never meet.
        mail_from: the reverse path.
        recipients: the forward paths, in any order.
        body: the message exactly as the client sent it.
    """
    chosen = find_header(body, IDEMPOTENCY_HEADER)
    if chosen:
        return _digest(credential.bytes, b"key", chosen.encode())
    message_id = find_header(body, "Message-ID")
    if not message_id:
        return None
    envelope = "\0".join([mail_from, *sorted(recipients)])
    return _digest(credential.bytes, b"message", message_id.encode(), envelope.encode(), hashlib.sha256(body).digest())


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
