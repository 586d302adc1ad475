"""Two relays hold an account to its quotas, with a real cache between them, and without one."""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid1

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.cache import Cache, Pace
from backing.metrics import RelayMetrics
from backing.quotas import MAX_ACCOUNTS, Quotas
from backing.settings import CacheSettings
from mail.accounts import Account, Quota, Unit, Window
from mail.errors import Reply
from tests.valkey import Valkey
from tests.waiting import until

pytestmark = pytest.mark.anyio
QUICK = Pace(first=0.02, longest=0.08, pulse=0.05)


def account(*quotas: tuple[Window, Unit, int]) -> Account:
    return Account(uuid1(), "shop", frozenset(), quotas=tuple(Quota(*quota) for quota in quotas))


def full(words: str, resets: str) -> Reply:
    return Reply(452, "4.7.1", f"{words} reached, resets {resets}Z")


class Fleet:
    """Relays on one cache, with one clock."""

    def __init__(self, url: str, *, cluster: bool = False) -> None:
        self.url, self.cluster = url, cluster
        # The cache's own clock ends its keys, so windows that begin in the past are gone at once.
        self.now = datetime.now(UTC).replace(hour=19, minute=30, second=0) + timedelta(days=1)
        self.stack = AsyncExitStack()

    async def relay(self) -> "Relay":
        relay = Relay(self)
        await self.stack.enter_async_context(relay.running())
        return relay


class Relay:
    """One relay of a fleet."""

    def __init__(self, fleet: Fleet) -> None:
        settings = CacheSettings(
            database_url="postgresql://app@127.0.0.1:1/none", cache_url=fleet.url, cache_cluster=fleet.cluster
        )
        self.registry = CollectorRegistry()
        self.cache = Cache(settings, Aws("eu-central-1"), pace=QUICK)
        self.quotas = Quotas(self.cache, RelayMetrics(self.registry).quota_refusals, lambda: fleet.now, every=0.1)
        self.objection, self.take, self.give_back = self.quotas.objection, self.quotas.take, self.quotas.give_back

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        async with self.cache.opened(), self.quotas.running():
            yield self

    def refused(self, window: str, unit: str) -> float:
        labels = {"window": window, "unit": unit}
        return self.registry.get_sample_value("relay_quota_refusals_total", labels) or 0


@asynccontextmanager
async def fleet(url: str, *, cluster: bool = False) -> AsyncIterator[Fleet]:
    one = Fleet(url, cluster=cluster)
    async with one.stack:
        yield one


async def test_an_account_without_quotas_is_never_asked_about() -> None:
    async with fleet("") as all_of_them:
        relay = await all_of_them.relay()
        free = account()
        relay.quotas.know(free)
        assert [relay.objection(free), relay.take(free, 1000)] == [None, None]
        relay.give_back(free, 1000)


async def test_messages_and_recipients_are_counted_in_their_windows() -> None:
    async with fleet("") as all_of_them:
        relay = await all_of_them.relay()
        all_of_them.now = datetime(2026, 11, 30, 22, 59, tzinfo=UTC)
        shop = account(("hour", "messages", 2), ("day", "recipients", 6), ("month", "messages", 4))
        hourly = full("Hourly quota of 2 messages", "2026-11-30T23:00")
        daily = full("Daily quota of 6 recipients", "2026-12-01T00:00")

        assert [relay.objection(shop, n) for n in (0, 6, 7)] == [None, None, daily]
        assert [relay.take(shop, 2), relay.take(shop, 1), relay.take(shop, 1)] == [None, None, hourly]
        all_of_them.now += timedelta(minutes=1)
        assert [relay.objection(shop, n) for n in (0, 3, 4)] == [None, None, daily]
        assert [relay.take(shop, 4), relay.take(shop, 3), relay.objection(shop)] == [daily, None, daily]
        all_of_them.now += timedelta(hours=1)
        assert [relay.take(shop, 6), relay.objection(shop)] == [
            None,
            full("Daily quota of 6 recipients", "2026-12-02T00:00"),
        ]
        assert (relay.refused("hour", "messages"), relay.refused("day", "recipients")) == (1, 5)


async def test_what_was_not_committed_is_given_back() -> None:
    async with fleet("") as all_of_them:
        relay = await all_of_them.relay()
        shop = account(("day", "messages", 1), ("day", "recipients", 3))
        assert relay.take(shop, 3) is None
        assert relay.take(shop, 1) is not None
        relay.give_back(shop, 3)
        assert relay.take(shop, 3) is None
        all_of_them.now += timedelta(days=1)
        relay.give_back(shop, 3)
        assert [relay.take(shop, 1) is None, relay.take(shop, 1) is None] == [True, False]


@pytest.mark.parametrize("fixture", ["shared_valkey", "shared_cluster"])
async def test_what_one_relay_took_the_other_one_knows(fixture: str, request: pytest.FixtureRequest) -> None:
    server: Valkey = request.getfixturevalue(fixture)
    shop = account(("day", "messages", 10), ("month", "recipients", 1000))
    async with fleet(server.url, cluster=fixture == "shared_cluster") as both:
        one, other = await both.relay(), await both.relay()
        assert [one.take(shop, 2) for _ in range(6)] == [None] * 6
        # Signing in is enough to learn it, well before the next second.
        other.quotas.know(shop)
        await until(lambda: other.objection(shop, 1) is None and _left(other, shop, 988), 1)
        assert [other.take(shop, 2) is None for _ in range(5)] == [True] * 4 + [False]
        await until(lambda: one.objection(shop) is not None)
        one.give_back(shop, 2)
        await until(lambda: other.objection(shop) is None)


def _left(relay: Relay, account: Account, recipients: int) -> bool:
    """Whether so many recipients, and no more, may still be sent to."""
    return relay.objection(account, recipients) is None and relay.objection(account, recipients + 1) is not None


async def test_a_relay_that_ends_and_one_that_begins_keep_the_count(valkey_url: str) -> None:
    shop = account(("month", "messages", 3))
    for _ in range(3):
        async with fleet(valkey_url) as one_after_the_other:
            relay = await one_after_the_other.relay()
            assert relay.take(shop, 1) is None
    async with fleet(valkey_url) as last:
        relay = await last.relay()
        relay.quotas.know(shop)
        await until(lambda: relay.objection(shop))


@pytest.mark.requirement("EC-3")
async def test_a_cache_that_died_with_all_it_knew_is_told_again(own_valkey: Valkey) -> None:
    shop = account(("day", "messages", 10))
    async with fleet(own_valkey.url) as both:
        one, other = await both.relay(), await both.relay()
        assert [one.take(shop, 1) for _ in range(4)] == [None] * 4
        other.quotas.know(shop)
        await until(lambda: own_valkey.say("DBSIZE") == ":1")
        own_valkey.kill()
        await until(lambda: not one.cache.up and not other.cache.up)

        assert [relay.take(shop, 1) for relay in (one, one, other, other)] == [None] * 4
        own_valkey.start()
        await until(lambda: one.cache.up and other.cache.up)
        third = await both.relay()
        third.quotas.know(shop)
        await until(lambda: [third.take(shop, 1), third.give_back(shop, 1)][0] is None and _used(third, shop, 10) == 8)
        assert [third.take(shop, 1) is None for _ in range(3)] == [True, True, False]


def _used(relay: Relay, account: Account, limit: int) -> int:
    """Count by trying: take all there is, give it back."""
    taken = next(n for n in itertools.count() if relay.take(account, 1))
    for _ in range(taken):
        relay.give_back(account, 1)
    return limit - taken


async def test_a_forgetful_cache_is_reminded_of_accounts_that_rest(own_valkey: Valkey) -> None:
    shop = account(("day", "messages", 10))
    async with fleet(own_valkey.url) as both:
        one = await both.relay()
        assert [one.take(shop, 1) for _ in range(4)] == [None] * 4
        await until(lambda: own_valkey.say("DBSIZE") == ":1")
        own_valkey.say("FLUSHALL")
        one.quotas.remind()
        await until(lambda: own_valkey.say("DBSIZE") == ":1")
        both.now += timedelta(days=1)
        own_valkey.say("FLUSHALL")
        one.quotas.remind()
        other = await both.relay()
        assert other.take(shop, 1) is None
        await until(lambda: own_valkey.say("DBSIZE") == ":1")


async def test_nearly_used_quotas_are_said_once_in_a_window() -> None:
    async with fleet("") as all_of_them:
        relay = await all_of_them.relay()
        all_of_them.now = datetime(2026, 11, 22, 19, 30, tzinfo=UTC)
        shop = account(("hour", "messages", 5), ("day", "messages", 100))
        with capture_logs() as lines:
            for _ in range(5):
                relay.take(shop, 1)
            all_of_them.now += timedelta(hours=1)
            for _ in range(4):
                relay.take(shop, 1)
        line: dict[str, Any] = {
            "event": "quota nearly used",
            "log_level": "warning",
            "account": "shop",
            "window": "hour",
            "unit": "messages",
            "used": 4,
            "limit": 5,
        }
        assert lines == [
            line | {"resets": "2026-11-22T20:00:00+00:00"},
            line | {"resets": "2026-11-22T21:00:00+00:00"},
        ]


async def test_more_accounts_than_may_be_remembered_forget_the_one_used_longest_ago() -> None:
    async with fleet("") as all_of_them:
        relay = await all_of_them.relay()
        first, second = account(("day", "messages", 1)), account(("day", "messages", 1))
        assert [relay.take(first, 1), relay.take(second, 1)] == [None, None]
        assert relay.objection(first)
        for n in range(MAX_ACCOUNTS - 1):
            relay.quotas.know(Account(UUID(int=n), "other", frozenset(), quotas=first.quotas))
        assert relay.objection(first)
        assert relay.objection(second) is None


async def test_a_cache_that_hangs_costs_a_message_nothing(own_valkey: Valkey) -> None:
    shop = account(("day", "messages", 1000))
    async with fleet(own_valkey.url) as both:
        relay = await both.relay()
        own_valkey.say("CLIENT PAUSE 3000")
        began = time.monotonic()
        for _ in range(1000):
            assert relay.take(shop, 1) is None
        assert time.monotonic() - began < 0.25
        assert relay.take(shop, 1)
        own_valkey.kill()
