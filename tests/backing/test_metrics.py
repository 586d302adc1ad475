"""What the registry tells of things that keep their own counts."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from backing.aws import Aws
from backing.metrics import PoolMetrics, RelayMetrics
from backing.postgres.pool import Database
from backing.settings import Settings
from tests.conftest import REGION

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("CORE-OPS-003")
async def test_the_use_of_the_pool_is_seen(database_url: str) -> None:
    registry = CollectorRegistry()
    database = Database(Settings(database_url=database_url, database_pool_max=3), Aws(REGION))
    database.timed = PoolMetrics(registry, database.pool.get_stats).transaction_seconds.observe

    def seen(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    async with database.opened():
        async with database.transaction():
            # One is in use; another may be on its way.
            assert (seen("database_pool_connections", state="busy") or 0) >= 1
        async with asyncio.timeout(5):
            while seen("database_pool_connections", state="busy"):  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.01)
        assert (seen("database_pool_connections", state="idle") or 0) >= 1
        assert seen("database_pool_max_connections") == 3
        assert seen("database_pool_requests_total", result="served") == 1
        assert seen("database_pool_requests_total", result="failed") == 0
        assert seen("database_pool_waiting") == 0
        assert (seen("database_pool_use_seconds_total") or 0) >= 0
        assert seen("database_transaction_seconds_count") == 1


@pytest.mark.requirement("CORE-OPS-003")
async def test_messages_are_counted_by_result_and_duration() -> None:
    registry = CollectorRegistry()
    counts = RelayMetrics(registry).messages

    def seen(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    assert seen("relay_messages_total", result="accepted") == 0
    for result, seconds in (("accepted", 0.005), ("accepted", 0.006), ("refused", 0.0), ("deferred", 61.0)):
        counts.count(result, seconds)
    counts.octets += 700
    assert [seen("relay_messages_total", result=r) for r in ("accepted", "refused", "deferred")] == [2, 1, 1]
    assert seen("relay_message_bytes_total") == 700
    buckets = [seen("relay_accept_seconds_bucket", le=le) for le in ("0.005", "0.01", "60.0", "+Inf")]
    assert buckets == [2, 3, 3, 4]
    assert seen("relay_accept_seconds_count") == 4
    assert seen("relay_accept_seconds_sum") == pytest.approx(61.011)
