"""Envelopes and attempts, as tests of providers need them."""

import asyncio
from typing import Any

from backing.ids import new_id
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from worker.providers.base import Envelope, Provider

B, C, D = Recipient("b@far.example"), Recipient("c@far.example"), Recipient("d@far.example")


def envelope(*recipients: Recipient, **changes: Any) -> Envelope:
    listed = tuple(enumerate(recipients or (B,)))
    usual: dict[str, Any] = {"mail_from": "a@shop.example", "eight_bit": True}
    return Envelope(message_id=new_id(), key=new_id(), account_id=new_id(), recipients=listed, **(usual | changes))


async def attempt(provider: Provider, what: Envelope, body: bytes, *, seconds: float = 30.0) -> list[RecipientResult]:
    return await provider.send(what, body, asyncio.get_running_loop().time() + seconds)


def outcomes(results: list[RecipientResult]) -> list[Outcome]:
    return [result.outcome for result in results]
