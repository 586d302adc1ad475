"""How often a key may be used, counted by several tasks together."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from typing_extensions import override

from backing.aws import Aws
from backing.cache import Cache, Command, get
from backing.ids import new_id
from backing.settings import CacheSettings
from mail.keys import ApiKey
from web.rates import RATE_WINDOW, Rates, Standing

pytestmark = pytest.mark.anyio
# All is counted in one minute.
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp() + 10


def key(per_minute: int) -> ApiKey:
    return ApiKey(
        id=new_id(),
        prefix="a" * 12,
        name="test",
        digest=b"",
        account_id=None,
        account=None,
        scopes=frozenset(),
        per_minute=per_minute,
        expires_at=None,
    )


class Patient(Cache):
    """A cache that a busy machine may take its time with: these are tests of what is counted while it is there."""

    @override
    async def ask(self, commands: Sequence[Command], seconds: float = 30) -> list[Any]:
        return await super().ask(commands, seconds)


def cache(url: str) -> Cache:
    return Patient(CacheSettings(database_url="postgresql://app@127.0.0.1:1/none", cache_url=url), Aws("eu-central-1"))


@pytest.fixture
async def caches(valkey_url: str) -> AsyncIterator[list[Cache]]:
    """That of each of three tasks."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(cache(valkey_url).opened()) for _ in range(3)]


async def counted(there: Cache, used: ApiKey) -> int:
    """What the cache has of a key."""
    (value,) = await there.ask([get(f"api-rate:{used.id}:{int(NOW) // RATE_WINDOW * RATE_WINDOW}")])
    return int(value)


async def spent(tasks: list[Rates], used: ApiKey, shares: tuple[int, ...]) -> list[Standing]:
    """Use a key at all tasks, some of them more than others, until none lets it in; gives those let in."""
    good: list[Standing] = []
    while True:
        together = [task.take(used) for task, share in zip(tasks, shares, strict=True) for _ in range(share)]
        standings = await asyncio.gather(*together)
        good += [each for each in standings if not each.over]
        if all(each.over for each in standings):
            return good


@pytest.mark.requirement("CORE-API-004")
async def test_tasks_let_in_exactly_a_small_rate_together(caches: list[Cache]) -> None:
    tasks, used = [Rates(each, 7, lambda: NOW) for each in caches], key(100)
    good = await spent(tasks, used, (4, 2, 1))
    assert sorted(each.used for each in good) == list(range(1, 101))


@pytest.mark.requirement("CORE-API-004")
@pytest.mark.parametrize("shares", [(1, 1, 1), (20, 1, 0), (7, 5, 3)])
async def test_tasks_let_in_no_more_than_a_large_rate_and_hardly_less(
    caches: list[Cache], shares: tuple[int, ...]
) -> None:
    tasks, used = [Rates(each, 7, lambda: NOW) for each in caches], key(3000)
    good = await spent(tasks, used, shares)
    assert 2 * 29 >= 3000 - len(good) >= 0
    assert max(each.used for each in good) <= 3000


async def test_a_key_that_is_used_much_is_counted_ahead_and_others_learn_of_it(caches: list[Cache]) -> None:
    one, other, used = Rates(caches[0], 7, lambda: NOW), Rates(caches[1], 7, lambda: NOW), key(1_000_000)
    for n in range(1, 1001):
        assert await one.take(used) == Standing(1_000_000, n, 50)
    ahead = await counted(caches[2], used) - 1000
    assert 0 < ahead <= 1000 // 8
    assert (await other.take(used)).used == 1001 + ahead


async def test_without_a_cache_a_task_goes_by_its_own_counts_and_what_it_counted_ahead(valkey_url: str) -> None:
    async with cache(valkey_url).opened() as there:
        task, used = Rates(there, 7, lambda: NOW), key(1000)
        before = [(await task.take(used)).used for _ in range(500)]
    after = [await task.take(used) for _ in range(600)]
    assert [each.used for each in after if not each.over] == list(range(501, 1001))
    assert before == list(range(1, 501))
