"""Mail that was sent, as its rows are after the send."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.events import Events, Tell
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.events.event import Kind, ProviderEvent

SHOP, BAKERY = UUID(int=1), UUID(int=2)
BEGIN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@dataclass
class Mailbook:
    """The rows of a test's database: two accounts, and what they sent."""

    url: str
    names: int = field(default=0)

    def __post_init__(self) -> None:
        for account_id, name in ((SHOP, "shop"), (BAKERY, "bakery")):
            self.run("INSERT INTO account (id, name, allowed_domains) VALUES (%s, %s, '{}')", account_id, name)

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def provider(self, account_id: UUID | None = SHOP, **config: str) -> UUID:
        provider_id, self.names = new_id(), self.names + 1
        self.run(
            "INSERT INTO provider (id, account_id, name, kind, config) VALUES (%s, %s, %s, 'ses', %s)",
            provider_id,
            account_id,
            f"ses-{self.names}",
            Jsonb(config),
        )
        return provider_id

    def mail(
        self,
        provider_id: UUID,
        state: str = "accepted",
        *addresses: str,
        account_id: UUID = SHOP,
        delivery: str = "done",
        stream: str = "",
        named: str | None = None,
    ) -> UUID:
        """Mail that a provider was asked to send; `named` is what it calls it."""
        message = new_id()
        self.run(
            "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, stream,"
            " accepted_at, queued_at, expires_at)"
            " VALUES (%s, %s, 's', 'a@shop.example', 1, sha256(''), false, false, %s, now(), now(), now())",
            message,
            account_id,
            stream,
        )
        self.run(
            "INSERT INTO delivery (id, message_id, account_id, provider_id, state, attempts, lease_until,"
            " next_attempt_at, dispatch_at) VALUES (%s, %s, %s, %s, %s, 1, now(), now(), now())",
            message,
            message,
            account_id,
            provider_id,
            delivery,
        )
        for n, address in enumerate(addresses or ("b@far.example",)):
            self.run(
                "INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state, provider_id)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                *(message, n, account_id, message, address, state, provider_id),
            )
        self.run(
            "INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, provider_message_id)"
            " VALUES (%s, 1, %s, %s, 'w', now(), %s)",
            *(message, account_id, provider_id, named),
        )
        return message

    def states(self, message: UUID) -> list[str]:
        return [row[0] for row in self.run("SELECT state FROM recipient WHERE message_id = %s ORDER BY n", message)]

    def delivery(self, message: UUID) -> tuple[Any, ...]:
        (row,) = self.run(
            "SELECT state, finished_at IS NOT NULL, next_attempt_at IS NULL AND dispatch_at IS NULL FROM delivery"
            " WHERE message_id = %s",
            message,
        )
        return row

    def suppressed(self) -> list[tuple[Any, ...]]:
        return self.run(
            "SELECT account.name, stream, address, reason, source FROM suppression"
            " JOIN account ON account.id = account_id ORDER BY 1, 2, 3"
        )

    def hurry(self) -> None:
        """Let everything that waits be looked at again now."""
        self.run("UPDATE provider_event SET look_at = now() WHERE look_at IS NOT NULL")

    def age(self, by: timedelta) -> None:
        """Let everything have come so much earlier."""
        self.run("UPDATE provider_event SET received_at = received_at - %s", by)


@asynccontextmanager
async def events_of(url: str, tell: Tell | None = None) -> AsyncIterator[Events]:
    settings = Settings(database_url=url)
    async with Database(settings, Aws(settings.aws_region)).opened() as database:
        yield Events(database, tell)


def event(kind: Kind, message: UUID | None = None, seconds: int = 0, **facts: Any) -> ProviderEvent:
    """An event about the first recipient of a message."""
    whole: dict[str, Any] = {"address": "b@far.example", "n": 0 if message else None, "id": str(new_id())}
    return ProviderEvent(
        kind=kind, occurred_at=BEGIN + timedelta(seconds=seconds), message_id=message, **(whole | facts)
    )


def effects(recorded: Sequence[Any]) -> list[str]:
    return [str(each.effect) for each in recorded]
