"""What tests of the outbox stand on: an account, an operator, and what tells of the account's mail."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import psycopg
from aiohttp.abc import AbstractResolver, ResolveResult
from prometheus_client import CollectorRegistry

from backing.admin.webhooks import Webhooks
from backing.metrics import OutboxMetrics
from backing.postgres.outbox import Outbox
from backing.postgres.pool import Database
from backing.secrets import Vault
from mail.endpoints import Network
from tests.worker.house import Books, ledger_of, make_job
from worker.outbox import Secrets, Teller
from worker.posting import poster

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Names(AbstractResolver):
    """A DNS that says what a test wants."""

    def __init__(self, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.names[host]
        ]

    async def close(self) -> None:
        pass


@dataclass
class House:
    """A database with an account, an operator, and what tells of it."""

    books: Books
    database: Database
    vault: Vault
    trusted: ssl.SSLContext
    webhooks: Webhooks
    metrics: OutboxMetrics = field(default_factory=lambda: OutboxMetrics(CollectorRegistry()))

    @asynccontextmanager
    async def telling(
        self, allowed: Sequence[Network] = LOOPBACK, resolver: AbstractResolver | None = None
    ) -> AsyncIterator[asyncio.Task[None]]:
        """A worker that tells until the block ends."""
        async with poster(allowed, self.trusted, resolver) as posts, asyncio.TaskGroup() as tasks:
            outbox = Outbox(self.database, 120)
            task = tasks.create_task(Teller(outbox, Secrets(self.vault), posts, self.metrics, 0.05).run())
            try:
                yield task
            finally:
                task.cancel()

    async def happen(self, *states: str) -> UUID:
        """Let one more message go through states; gives its id."""
        job = make_job()
        async with ledger_of(self.books.url) as deliveries:
            await deliveries.claim([(job, job.accepted_at)])
        for state in states:
            self.books.run(
                "UPDATE recipient SET state = %s, code = 250, enhanced = '2.0.0', reply = 'so' WHERE message_id = %s",
                state,
                job.id,
            )
        return job.id

    def told(self) -> list[tuple[Any, ...]]:
        """What became of posts: state, attempts and status."""
        return self.books.run("SELECT state, attempts, last_status FROM webhook_delivery ORDER BY event_id")

    def texts(self) -> list[str | None]:
        """The words of the latest answers, or None where there was none yet."""
        return [text for (text,) in self.books.run("SELECT last_text FROM webhook_delivery ORDER BY event_id")]

    def text(self) -> str:
        return str(self.texts()[0])

    def hurry(self) -> None:
        self.books.run("UPDATE webhook_delivery SET next_attempt_at = now()")

    def endpoint(self) -> tuple[Any, ...]:
        rows = self.books.run("SELECT enabled, disabled_reason, failing_since IS NOT NULL FROM webhook_endpoint")
        return rows[0]


@contextmanager
def away(url: str) -> Iterator[None]:
    """A database that nobody can connect to."""
    server, name = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        yield
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
