"""Sending through the SMTP provider to a scripted peer, and what is expected of it."""

import asyncio
from ipaddress import ip_network
from typing import Any, Final

from backing.ids import new_id
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.worker.house import BODY
from tests.worker.peer import Peer
from worker.providers.base import Envelope, Setup
from worker.providers.smtp import SmtpProvider
from worker.providers.smtp.attempt import Recode, cannot_recode

# Peers of tests are on this machine.
HERE: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))
B, C, D = Recipient("b@far.example"), Recipient("c@far.example"), Recipient("d@far.example")


def envelope(*recipients: Recipient, **changes: Any) -> Envelope:
    listed = tuple(enumerate(recipients or (B,)))
    return Envelope(
        message_id=new_id(),
        key=new_id(),
        account_id=new_id(),
        recipients=listed,
        **({"mail_from": "a@shop.example"} | changes),
    )


async def provider(
    peer: Peer, secret: str | None = None, recode: Recode = cannot_recode, **config: object
) -> SmtpProvider:
    setup = Setup(new_id(), "main", peer.config | {"timeout": 30.0} | config, secret)
    return await SmtpProvider.create(setup, recode, HERE)


async def attempt(
    peer: Peer,
    what: Envelope,
    body: bytes = BODY,
    *,
    seconds: float = 30.0,
    secret: str | None = None,
    **config: object,
) -> list[RecipientResult]:
    sender = await provider(peer, secret, cannot_recode, **config)
    try:
        return await sender.send(what, body, asyncio.get_running_loop().time() + seconds)
    finally:
        await sender.close()


def all_of(
    outcome: Outcome, code: int | None, enhanced: str | None, text: str, count: int = 1
) -> list[RecipientResult]:
    return [RecipientResult(n, outcome, code, enhanced, text) for n in range(count)]
