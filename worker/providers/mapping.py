"""From a raw message to the fields of an API that has neither raw messages nor envelopes."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mail.delivery import Outcome
from worker.providers.base import Answer, Envelope, Failed
from worker.providers.compose import Composed, Inexpressible, Mailbox, compose

# Above this a message is taken apart in a thread.
_AT_ONCE: Final = 50_000


@dataclass(frozen=True, slots=True)
class Audience:
    """The recipients of one copy, of whom those in `bcc` are seen by nobody."""

    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...] = ()
    bcc: tuple[Mailbox, ...] = ()


async def mapped(
    envelope: Envelope, body: bytes, document: Callable[[Composed, list[Audience]], Mapping[str, Any] | None]
) -> bytes | None:
    """Write the JSON document for a message.

    Args:
        envelope: says who gets it.
        body: the raw message.
        document: gives the API's fields, or None where the recipients cannot share them.

    Raises:
        Failed: the message cannot be told without loss.
    """

    def write() -> bytes | None:
        message = compose(body)
        fields = document(message, audiences(message, [recipient.address for _, recipient in envelope.recipients]))
        return None if fields is None else json.dumps(fields).encode()

    try:
        return write() if len(body) < _AT_ONCE else await asyncio.to_thread(write)
    except Inexpressible as reason:
        text = f"mode api cannot send this message: {reason}; use mode smtp"
        raise Failed(Answer(Outcome.MESSAGE_PERMANENT, None, "5.6.3", text)) from None


def audiences(message: Composed, addresses: Sequence[str]) -> list[Audience]:
    """Divide an envelope's recipients into copies, each with somebody in To as the APIs demand.

    Nobody outside the envelope gets one, and nobody is seen in To or Cc who is not in the message's own; where none of
    the recipients is in To, each has a copy that names nobody else.
    """
    left = {address.lower(): address for address in addresses}
    to = _taken(message.to, left)
    if to:
        cc = _taken(message.cc, left)
        return [Audience(to, cc, tuple(Mailbox("", address) for address in left.values()))]
    return [Audience((Mailbox("", address),)) for address in left.values()]


def _taken(listed: Sequence[Mailbox], left: dict[str, str]) -> tuple[Mailbox, ...]:
    """Those of a header who are still without their copy."""
    found = [(mailbox, left.pop(mailbox.address.lower(), None)) for mailbox in listed]
    return tuple(Mailbox(mailbox.name, address) for mailbox, address in found if address is not None)
