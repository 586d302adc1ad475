"""Connections and transactions of a real PostgreSQL."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.postgres.pool import Connection, Database
from backing.postgres.slow import Statement
from backing.settings import Settings
from mail.errors import Unavailable
from tests.conftest import REGION
from tests.waiting import until

pytestmark = pytest.mark.anyio

ACQUIRE_SECONDS = 0.3


def pool(database_url: str, **changes: Any) -> Database:
    """A pool with other settings than usual, some of them shorter than a setting may be."""
    settings = Settings(database_url=database_url).model_copy(
        update={f"database_{name}": value for name, value in changes.items()}
    )
    return Database(settings, Aws(REGION))


async def backend(connection: Connection) -> int:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    assert row
    return int(row[0])


async def lent(database: Database) -> int:
    """Which session of the server is lent now."""
    async with database.transaction() as connection:
        return await backend(connection)


def say(database_url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return connection.execute(statement.encode(), values).fetchall()


def sessions(database_url: str) -> set[int]:
    """The sessions of all others in this database."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return {row[0] for row in say(database_url, query)}


@pytest.mark.requirement("CORE-DB-002")
@pytest.mark.requirement("EC-2")
async def test_a_minimum_is_kept_open_and_beyond_the_maximum_callers_wait_for_so_long(database_url: str) -> None:
    limits = {"pool_min": 2, "pool_max": 3, "acquire_timeout_seconds": ACQUIRE_SECONDS, "max_idle_seconds": 1.0}
    async with pool(database_url, **limits).opened() as database:
        await until(lambda: len(sessions(database_url)) == 2)
        kept = sessions(database_url)
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(database.transaction())
            assert len(sessions(database_url)) == 3
            began = time.monotonic()
            with pytest.raises(Unavailable, match=r"PoolTimeout: couldn't get a connection after 0\.30 sec"):
                await lent(database)
            assert ACQUIRE_SECONDS * 0.9 < time.monotonic() - began < ACQUIRE_SECONDS + 2
        # The third has nothing to do, and goes.
        await until(lambda: len(sessions(database_url)) == 2)
        assert kept & sessions(database_url)
        assert await lent(database) in sessions(database_url)
    assert sessions(database_url) == set()


@pytest.mark.requirement("CORE-DB-002")
async def test_a_connection_is_replaced_at_a_certain_age(database_url: str) -> None:
    async with pool(database_url, pool_max=1, max_lifetime_seconds=0.5).opened() as database:
        first = await lent(database)
        assert await lent(database) == first
        async with asyncio.timeout(20):
            while await lent(database) == first:  # noqa: ASYNC110 - it is replaced when it is given back
                await asyncio.sleep(0.02)
        await until(lambda: first not in sessions(database_url), 20)


@pytest.mark.requirement("CORE-DB-002")
@pytest.mark.parametrize("trusted_seconds", [5.0, 0.0])
async def test_a_connection_that_broke_meanwhile_is_replaced_before_it_is_lent(
    database_url: str, monkeypatch: pytest.MonkeyPatch, trusted_seconds: float
) -> None:
    monkeypatch.setattr("backing.postgres.pool.TRUSTED_SECONDS", trusted_seconds)
    async with pool(database_url, pool_min=2, pool_max=2).opened() as database:
        await until(lambda: len(sessions(database_url)) == 2)
        old = {await lent(database), await lent(database)}
        for session in sessions(database_url):
            say(database_url, "SELECT pg_terminate_backend(%s, 5000)", session)
        assert await lent(database) not in old
        assert await lent(database) not in old


@pytest.mark.requirement("CORE-DB-002")
@pytest.mark.parametrize(("trusted_seconds", "last"), [(5.0, "SELECT 4711"), (0.0, "")])
async def test_only_a_connection_that_was_idle_for_a_while_costs_a_round_trip_more(
    database_url: str, monkeypatch: pytest.MonkeyPatch, trusted_seconds: float, last: str
) -> None:
    monkeypatch.setattr("backing.postgres.pool.TRUSTED_SECONDS", trusted_seconds)
    async with pool(database_url, pool_max=1).opened() as database:
        async with database.statement() as connection:
            await connection.execute("SELECT 4711")
        async with database.statement() as connection:
            query = "SELECT query FROM pg_stat_activity WHERE pid = %s"
            assert say(database_url, query, connection.info.backend_pid) == [(last,)]


async def test_a_pipeline_of_statements_is_done_as_a_whole_or_not_at_all(database_url: str) -> None:
    with psycopg.connect(database_url) as server:
        server.execute("CREATE TABLE kept (n integer PRIMARY KEY)")

    async def insert(*numbers: int) -> None:
        async with database.statement() as connection, connection.pipeline():
            for n in numbers:
                await connection.execute("INSERT INTO kept VALUES (%s)", [n])

    async with pool(database_url).opened() as database:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await insert(1, 2, 1)
        await insert(3, 4)
    assert say(database_url, "SELECT n FROM kept ORDER BY n") == [(3,), (4,)]


async def test_a_cancellation_that_was_lost_on_the_way_ends_the_transaction_all_the_same(database_url: str) -> None:
    done, inside = list[str](), asyncio.Event()
    async with Database(Settings(database_url=database_url), Aws(REGION)).opened() as database:

        async def work() -> None:
            async with database.transaction() as connection:
                await connection.execute("CREATE TABLE kept (n integer)")
                inside.set()
                # As asyncio.wait_for does where the result is there already.
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
                done.append("transaction")
            done.append("after it")

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work())
            await inside.wait()
            task.cancel()
        assert task.cancelled()
        assert done == ["transaction"]
        async with database.transaction() as connection:
            assert await (await connection.execute("SELECT count(*) FROM kept")).fetchone() == (0,)


async def test_what_was_cancelled_before_may_still_clean_up(database_url: str) -> None:
    done, inside = list[str](), asyncio.Event()
    async with Database(Settings(database_url=database_url), Aws(REGION)).opened() as database:

        async def work() -> None:
            try:
                inside.set()
                await asyncio.sleep(60)
            finally:
                async with database.transaction() as connection:
                    await connection.execute("SELECT 1")
                done.append("cleaned up")

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(work())
            await inside.wait()
            task.cancel()
    assert done == ["cleaned up"]


async def test_a_slow_statement_is_logged_by_its_name_and_without_its_values(database_url: str) -> None:
    slow = Statement.named("tests.sleep", "SELECT pg_sleep(%(seconds)s), %(secret)s::text")
    async with pool(database_url, slow_ms=50).opened() as database:
        with capture_logs() as logs:
            async with database.transaction() as connection:
                await connection.execute(slow, {"seconds": 0, "secret": "hush"})
                await connection.execute(slow, {"seconds": 0.06, "secret": "hush"})
                await connection.execute("SELECT pg_sleep(0.06), 'hush'")
    told = [(each["statement"], each["milliseconds"] >= 50) for each in logs if each["event"] == "slow statement"]
    assert told == [("tests.sleep", True), ("unnamed", True)]
    assert "hush" not in str(logs)


async def test_where_nothing_is_slow_nothing_is_logged(database_url: str) -> None:
    async with pool(database_url, slow_ms=0).opened() as database:
        with capture_logs() as logs:
            async with database.transaction() as connection:
                await connection.execute("SELECT pg_sleep(0.06)")
    assert logs == []
