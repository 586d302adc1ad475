"""An account as a test changes it, and a message of its."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from mail.accounts import Account
from tests.relay.house import ACCOUNT, CREDENTIAL, USER, Peer, Running

T = TypeVar("T")
MESSAGE = b"From: me@example.com\r\nSubject: x\r\n\r\nx"


@dataclass
class Clock(Generic[T]):
    now: T

    def __call__(self) -> T:
        return self.now


def become(running: Running, **changes: Any) -> Account:
    """Give the account other options, as an operator would."""
    account = replace(ACCOUNT, **changes)
    running.accounts.credentials[USER] = replace(CREDENTIAL, account=account)
    return account


async def commit(peer: Peer, content: bytes = MESSAGE) -> str:
    peer.send(content + b"\r\n.\r\n")
    return await peer.reply()
