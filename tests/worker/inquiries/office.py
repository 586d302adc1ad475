"""Somebody who asks, and a clerk who answers: with a real database, real KMS, and peers that do what a script says."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from backing.admin.desk import Desk
from backing.admin.inquiries import Inquiries as Asking
from backing.admin.providers import NewProvider, Providers
from backing.aws import Aws
from backing.postgres.inquiries import Inquiries
from backing.postgres.pool import Database
from backing.secrets import Vault
from backing.stop import Stop
from mail.endpoints import Network
from tests.waiting import until
from tests.worker.house import Books
from tests.worker.sending import HERE
from worker.inquiries.clerk import Clerk, Tools

SECONDS = 30
OPEN = ("waiting", "taken")


@dataclass(frozen=True)
class Office:
    """Where one asks.

    Attributes:
        database: as its owner, who may ask.
        worker: the same, as a worker may use it.
    """

    books: Books
    database: Database
    worker: Database
    vault: Vault
    aws: Aws

    @property
    def asking(self) -> Asking:
        return Asking(Desk(self.database))

    async def provider(self, kind: str, config: Mapping[str, Any], secret: str | None = None, **more: Any) -> UUID:
        """Make one whose settings nobody has looked at."""
        new = NewProvider("main", "sandbox", {}, secret, **more)
        await Providers(Desk(self.database), self.vault).create("shop", new)
        ((made,),) = self.books.run(
            "UPDATE provider SET kind = %s, config = %s WHERE name = 'main' RETURNING id", kind, Jsonb(dict(config))
        )
        return UUID(str(made))

    async def ask(self, **mail: str) -> UUID:
        named = {key.rstrip("_"): value for key, value in mail.items()}
        return await self.asking.test("shop", "main", "tester", named)

    async def told(self, test: UUID) -> dict[str, Any]:
        return await self.asking.show_test("shop", "main", test)

    def state(self, inquiry: UUID) -> str:
        ((state,),) = self.books.run("SELECT state FROM inquiry WHERE id = %s", inquiry)
        return str(state)

    def clerk(
        self,
        *,
        every: float = 0.1,
        deadline: float = 20,
        context: ssl.SSLContext | None = None,
        vault: Vault | None = None,
        allowed: Sequence[Network] = HERE,
    ) -> Clerk:
        tools = Tools(vault or self.vault, self.aws, allowed, context)
        return Clerk(Inquiries(self.worker), tools, every=every, deadline=deadline)

    @asynccontextmanager
    async def answering(self, **options: Any) -> AsyncIterator[Clerk]:
        clerk = self.clerk(**options)
        async with clerk.running(Stop()):
            yield clerk

    async def answer(self, test: UUID, **options: Any) -> dict[str, Any]:
        """What a clerk says to a test."""
        async with self.answering(**options):
            await until(lambda: self.state(test) not in OPEN, SECONDS)
        return await self.told(test)

    def lose_leases(self) -> None:
        self.books.run("UPDATE inquiry SET taken_until = now() - interval '1 second' WHERE state = 'taken'")


def steps(told: Mapping[str, Any]) -> dict[str, bool]:
    return {each["step"]: each["ok"] for each in told["outcome"]["steps"]}


def words(told: Mapping[str, Any]) -> dict[str, str]:
    return {each["step"]: each["words"] for each in told["outcome"]["steps"]}
