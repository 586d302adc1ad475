"""Transactions against a real PostgreSQL."""

import asyncio
from contextlib import suppress

import pytest

from backing.aws import Aws
from backing.postgres.pool import Database
from backing.settings import Settings
from tests.conftest import REGION

pytestmark = pytest.mark.anyio


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
