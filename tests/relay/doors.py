"""Stand-ins for what the Doorkeeper leans on."""

import asyncio
from dataclasses import dataclass, field

from mail.accounts import Credential
from mail.errors import Reply
from tests.relay.house import Accounts

HELD = Reply(454, "4.7.0", "Too many failed sign-ins, try again in 60 s")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Throttle:
    """Keeps what it is told; holds back whom the test says."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)
    usernames: set[str] = field(default_factory=set)

    async def address_objection(self, peer: str, _: str) -> Reply | None:
        return HELD if peer in self.addresses else None

    async def username_objection(self, _: str, username: str) -> Reply | None:
        return HELD if username in self.usernames else None

    def failed(self, peer: str, username: str) -> None:
        self.told.append(("failed", peer, username))

    def succeeded(self, peer: str, username: str) -> None:
        self.told.append(("succeeded", peer, username))


@dataclass
class SlowAccounts(Accounts):
    """Answers when it is let."""

    let: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, username: str, /) -> Credential | None:
        credential = await super().__call__(username)
        await self.let.wait()
        return credential
