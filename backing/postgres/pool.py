"""The pool of PostgreSQL connections (CORE-DB-002), and the one place that says how to sign in."""

import asyncio
import math
import select
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from backing.aws import Aws
from backing.postgres.slow import Watched
from backing.settings import Settings
from mail.errors import Unavailable

Connection = psycopg.AsyncConnection[TupleRow]


class _Kept(Connection):
    """A connection of the pool, which remembers when it was used last.

    Attributes:
        slow: seconds that are long for a statement.
    """

    used_at = -math.inf
    slow = math.inf


APPLICATION = "smtp-proxy"
CONNECT_TIMEOUT_SECONDS = 5
RECONNECT_SECONDS = 5
# A statement that runs longer than this has lost; every statement of ours is short.
STATEMENT_TIMEOUT_MS = 30_000
# A connection that was used so lately is asked whether it works only where something came on it meanwhile.
TRUSTED_SECONDS = 5.0


async def sign_in(settings: Settings, aws: Aws) -> dict[str, Any]:
    """How to connect, beside the address: the session's limits and, where IAM signs us in, a fresh token."""
    options: dict[str, Any] = {
        "application_name": APPLICATION,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
    }
    if settings.database_iam_auth:
        target = conninfo_to_dict(settings.database_url)
        host, port, user = str(target["host"]), int(target.get("port") or 5432), str(target["user"])
        options |= {"password": await aws.database_token(host, port, user), "sslmode": "verify-full"}
    return options


class Database:
    """Hands out connections; one that cannot be had in time is `Unavailable`, and so is a database that went away.

    Attributes:
        timed: called with the seconds that a transaction took.
    """

    def __init__(self, settings: Settings, aws: Aws) -> None:
        self.timed: Callable[[float], object] = float

        async def terms() -> dict[str, Any]:
            return await sign_in(settings, aws) | {"autocommit": True}

        async def prepared(connection: _Kept) -> None:
            connection.slow = settings.database_slow_ms / 1000 or math.inf
            connection.cursor_factory = Watched

        self.pool = AsyncConnectionPool[_Kept](
            settings.database_url,
            connection_class=_Kept,
            kwargs=terms,
            configure=prepared,
            min_size=settings.database_pool_min,
            max_size=settings.database_pool_max,
            timeout=settings.database_acquire_timeout_seconds,
            max_lifetime=settings.database_max_lifetime_seconds,
            max_idle=settings.database_max_idle_seconds,
            # The pool doubles its waits between attempts until this time is over, then begins anew for the next
            # caller: a database that comes back is found at once.
            reconnect_timeout=RECONNECT_SECONDS,
            check=_check,
            open=False,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Database"]:
        """Keep the pool open; a database that is down now is waited for when a connection is asked for."""
        await self.pool.open(wait=False)
        try:
            yield self
        finally:
            await self.pool.close()

    def numbers(self) -> dict[str, int]:
        """How its pool stands, for who looks at the process; PostgreSQL is not asked."""
        stats = self.pool.get_stats()
        names = {"size": "pool_size", "max": "pool_max", "available": "pool_available", "waiting": "requests_waiting"}
        return {name: stats[key] for name, key in names.items()}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction.

        Raises:
            Unavailable: no connection in time (EC-2), or it broke; a transaction cut off at its commit may have been
                committed, so callers repeat only what may be repeated.
        """
        async with self.statement() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """Lend a connection for one statement, or for one pipeline of them, which is a transaction by itself.

        It saves the round trips of BEGIN and COMMIT.

        Raises:
            Unavailable: as above; a statement that was cut off, or cancelled, may have been carried out.
        """
        task = asyncio.current_task()
        cancelled = task.cancelling() if task else 0
        try:
            async with self.pool.connection() as connection:
                began = time.monotonic()
                yield connection
                connection.used_at = time.monotonic()
            self.timed(connection.used_at - began)
        except (PoolTimeout, psycopg.OperationalError, psycopg.InterfaceError) as fault:
            raise Unavailable(f"PostgreSQL: {type(fault).__name__}: {fault}") from fault
        if task and task.cancelling() > cancelled:
            # asyncio.wait_for, which psycopg waits with, loses a cancellation that comes together with what it waits
            # for (CPython gh-86296, mended in 3.12); who was cancelled would go on for ever.
            raise asyncio.CancelledError


async def _check(connection: _Kept) -> None:
    """Ask a connection whether it works, unless that is all but sure; raises what psycopg does if it does not.

    A server that ends a session says so, or at least closes it, and both can be seen without a round trip.
    """
    if time.monotonic() - connection.used_at > TRUSTED_SECONDS or _has_news(connection):
        await AsyncConnectionPool.check_connection(connection)


def _has_news(connection: Connection) -> bool:
    """Whether something came that nobody has read: the end of the session, most likely."""
    look = select.poll()
    look.register(connection.fileno(), select.POLLIN)
    return bool(look.poll(0))
