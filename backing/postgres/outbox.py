"""The outbox in PostgreSQL: events that wait for their endpoints, and what became of each post."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from backing.postgres.pool import Connection, Database
from backing.postgres.sql import statements
from mail.account_events import TEST, Event
from mail.endpoints import FAILING_DAYS

SQL = statements(__file__)

_PAGE: Final = 1000

Transaction = Callable[[], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account wants to be told; its secrets are sealed, the current one first."""

    id: UUID
    account_id: UUID
    url: str
    secrets: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """An event to post, and the number of this attempt."""

    event: Event
    attempt: int


@dataclass(frozen=True, slots=True)
class Errand:
    """What one endpoint is to be told now, the oldest first."""

    endpoint: Endpoint
    posts: tuple[Post, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a post.

    Attributes:
        state: pending, delivered or failed.
        wait: seconds until it is due again.
        status: HTTP status of the answer, or None where there was none.
        text: its first words, or why there was none.
        posted: False where we did not come to post it; that is no attempt, and says nothing of the endpoint.
        gone: whether the endpoint wants nothing any more.
    """

    event_id: UUID
    endpoint_id: UUID
    account_id: UUID
    attempt: int
    state: str
    wait: float
    status: int | None
    text: str
    posted: bool = True
    gone: bool = False


class Outbox:
    """Events on their way to the endpoints of accounts; any number of workers may take them.

    Every method raises `Unavailable` when the database does not answer.

    Args:
        database: where they are.
        lease_seconds: how long what is taken is left alone; afterwards it is posted again.
    """

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds

    async def take(self, busy: Sequence[UUID], endpoints: int, each: int) -> list[Errand]:
        """Take what is due.

        Args:
            busy: endpoints that are to get nothing more now.
            endpoints: most endpoints.
            each: most posts for one of them.
        """
        values = {"busy": list(busy), "endpoints": endpoints, "each": each, "lease": self._lease}
        async with self._database.statement() as connection:
            rows = await (await connection.execute(SQL["take"], values)).fetchall()
        return [_errand(list(group)) for _, group in groupby(rows, key=lambda row: row[0])]

    async def record(self, results: Sequence[Told]) -> list[str | None]:
        """Write down results; gives for each why its endpoint is disabled from now on, or None while it is not."""
        rows = [_result_row(result) for result in results]
        async with self._database.statement() as connection:
            cursor = await connection.execute(SQL["record"], {"results": Jsonb(rows), "days": FAILING_DAYS})
            reasons: dict[UUID, str | None] = dict(await cursor.fetchall())
        return [reasons.get(result.endpoint_id) for result in results]

    async def replay(self, account_id: UUID, endpoint_id: UUID, since: datetime, until: datetime) -> int:
        """As `replay`, in transactions of this database."""
        return await replay(self._database.transaction, account_id, endpoint_id, since, until)

    async def test(self, account_id: UUID, endpoint_id: UUID) -> UUID | None:
        """As `test`, in a transaction of this database."""
        async with self._database.transaction() as connection:
            return await test(connection, account_id, endpoint_id)


async def replay(
    transaction: Transaction, account_id: UUID, endpoint_id: UUID, since: datetime, until: datetime
) -> int:
    """Let the events of a time go to an endpoint once more, page by page; gives how many.

    Events keep their ids. Those that still wait for their first posts are not counted. A second call does no harm.

    Args:
        transaction: lends a connection.
        account_id: whose events.
        endpoint_id: where to; one of another account gets nothing.
        since: time of the earliest.
        until: time before which the latest was.
    """
    values = {"account_id": account_id, "endpoint_id": endpoint_id, "until": until, "most": _PAGE, "test": TEST}
    total, at = 0, (since, UUID(int=0))
    while True:
        async with transaction() as connection:
            cursor = await connection.execute(SQL["replay"], values | {"since": at[0], "after": at[1]})
            row = await cursor.fetchone()
        if row is None:
            return total
        total, at = total + row[0], (row[1], row[2])


async def test(connection: Connection, account_id: UUID, endpoint_id: UUID) -> UUID | None:
    """Let an event of no message go to an enabled endpoint; gives its id, or None where the account has none such."""
    values = {"account_id": account_id, "endpoint_id": endpoint_id, "test": TEST}
    row = await (await connection.execute(SQL["test"], values)).fetchone()
    return row[0] if row else None


def _errand(rows: list[tuple[Any, ...]]) -> Errand:
    endpoint_id, account_id, url, *sealed = rows[0][:5]
    endpoint = Endpoint(endpoint_id, account_id, url, tuple(secret for secret in sealed if secret is not None))
    posts = [Post(Event(row[5], row[6], row[7], account_id, row[8]), row[9]) for row in rows]
    return Errand(endpoint, tuple(posts))


def _result_row(result: Told) -> dict[str, Any]:
    names = {"event_id", "endpoint_id", "account_id"}
    return {name: str(value) if name in names else value for name, value in asdict(result).items()}
