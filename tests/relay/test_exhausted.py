"""A pool of database connections that has none left: whoever needs one waits a while, and is told to come back."""

import asyncio
import time

import psycopg
import pytest

from backing.aws import Aws
from backing.metrics import PoolMetrics
from backing.postgres.accounts import Accounts
from backing.postgres.pool import Database
from backing.settings import Settings
from relay.policy.auth import Doorkeeper
from tests.conftest import REGION
from tests.relay.conftest import open_account
from tests.relay.house import KEY as HOUSE_KEY
from tests.relay.house import PLAIN, USER, Files, Running, relay

pytestmark = pytest.mark.anyio

ACQUIRE_SECONDS = 0.3


async def sign_in(running: Running, answer: str) -> float:
    """Sign in; the seconds it took to be told so."""
    peer = await running.connect(implicit_tls=True)
    await peer.expect("220")
    await peer.ask("EHLO a.example", "250")
    began = time.monotonic()
    await peer.ask(f"AUTH PLAIN {PLAIN}", answer)
    return time.monotonic() - began


@pytest.mark.requirement("EC-2")
async def test_callers_wait_for_so_long_and_are_told_to_try_again(files: Files, database_url: str) -> None:
    assert Settings.model_fields["database_acquire_timeout_seconds"].default == 5
    with psycopg.connect(database_url) as connection:
        open_account(connection, "shop", USER, HOUSE_KEY)
    settings = Settings(
        database_url=database_url, database_pool_max=1, database_acquire_timeout_seconds=ACQUIRE_SECONDS
    )
    database = Database(settings, Aws(REGION))
    async with relay(files) as running, database.opened():
        PoolMetrics(running.registry, database.pool.get_stats)
        running.house.doorkeeper = Doorkeeper(Accounts(database), HOUSE_KEY, 60)
        async with database.transaction():
            waits = await asyncio.gather(
                *(sign_in(running, "454 4.7.0 Cannot check the credential now, try again later ref=") for _ in range(3))
            )
            assert all(ACQUIRE_SECONDS * 0.9 < wait < ACQUIRE_SECONDS + 2 for wait in waits), waits
            assert running.counted("relay_auth_attempts_total", result="unavailable") == 3
            assert running.counted("database_pool_requests_total", result="failed") >= 1
            assert running.counted("database_pool_max_connections") == 1
        # It was known to be away; who comes now finds out that it is back.
        await sign_in(running, "235 ")
