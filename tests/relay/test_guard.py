"""Two relays hold back who connects or guesses too often, with a real cache between them, and without one."""

import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from typing_extensions import override

from backing.aws import Aws
from backing.cache import CALL_SECONDS, Cache, Command, Pace
from backing.settings import CacheSettings, parse_networks
from mail.errors import Reply
from relay.policy.guard import DECISION_SECONDS, Guard, Rules
from tests.valkey import Valkey
from tests.waiting import until

pytestmark = pytest.mark.anyio  # marks what is asynchronous
QUICK = Pace(first=0.02, longest=0.08, pulse=0.05)
NOW = 1_800_000_060.0
USERS = (f"user {n}" for n in itertools.count())


def addresses() -> str:
    """An address that no other test uses."""
    return ".".join(["10", *(str(random.randrange(256)) for _ in range(3))])


class CountingCache(Cache):
    """Counts how often it is asked, and how often somebody waits for the answer to decide."""

    asked = 0
    decisions = 0

    @override
    async def ask(self, commands: Sequence[Command], seconds: float = CALL_SECONDS) -> list[Any]:
        self.asked += 1
        self.decisions += seconds == DECISION_SECONDS
        return await super().ask(commands, seconds)


class Fleet:
    """Relays on one cache, with one clock."""

    def __init__(self, url: str, *, cluster: bool = False) -> None:
        self.url, self.cluster = url, cluster
        self.now = NOW
        self.stack = AsyncExitStack()

    async def relay(self, **rules: Any) -> tuple[Guard, CountingCache]:
        settings = CacheSettings(
            database_url="postgresql://app@127.0.0.1:1/none", cache_url=self.url, cache_cluster=self.cluster
        )
        cache = CountingCache(settings, Aws("eu-central-1"), pace=QUICK)
        await self.stack.enter_async_context(cache.opened())
        guard = Guard(cache, Rules(**rules), lambda: self.now)
        await self.stack.enter_async_context(guard.running())
        return guard, cache


@asynccontextmanager
async def fleet(url: str, *, cluster: bool = False) -> AsyncIterator[Fleet]:
    one = Fleet(url, cluster=cluster)
    async with one.stack:
        yield one


async def soon(ask: Callable[[], Awaitable[Reply | None]]) -> Reply:
    """Ask until there is an objection."""
    answer: list[Reply] = []
    deadline = time.monotonic() + 40
    while not answer:
        assert time.monotonic() < deadline, "no objection"
        answer = [reply] if (reply := await ask()) else []
    return answer[0]


def held(seconds: int) -> Reply:
    return Reply(454, "4.7.0", f"Too many failed sign-ins, try again in {seconds} s")


def refused(seconds: int) -> Reply:
    return Reply(421, "4.7.0", f"Too many connections, try again in {seconds} s")


@pytest.mark.parametrize("fixture", ["shared_valkey", "shared_cluster"])
async def test_failures_at_one_relay_hold_the_guesser_back_at_the_other(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    server: Valkey = request.getfixturevalue(fixture)
    peer, user = addresses(), next(USERS)
    async with fleet(server.url, cluster=fixture == "shared_cluster") as both:
        (one, _), (other, _) = await both.relay(), await both.relay()
        for guard in [one] * 5 + [other] * 4:
            guard.failed(peer, user)
        assert await one.address_objection(peer, user) is None
        one.failed(peer, user)
        both.now += 40.2
        assert await soon(lambda: one.address_objection(peer, user)) == held(500)
        assert await soon(lambda: other.address_objection(peer, user)) == held(500)
        assert await other.address_objection(peer, next(USERS)) is None
        assert await other.address_objection(addresses(), user) is None
        both.now += 500
        assert await other.address_objection(peer, user) is None


async def test_one_address_may_not_try_many_names_and_an_ipv6_customer_not_many_addresses(valkey_url: str) -> None:
    network = f"2001:db8:{random.randrange(65536):x}:{random.randrange(65536):x}"
    async with fleet(valkey_url) as both:
        (one, _), (other, _) = await both.relay(), await both.relay()
        for n in range(29):
            one.failed(f"{network}::{n}", next(USERS))
        assert await one.address_objection(f"{network}::ffff", next(USERS)) is None
        one.failed(f"{network}:1::1", next(USERS))
        assert await one.address_objection(f"{network}::ffff", next(USERS)) == held(540)
        assert await soon(lambda: other.address_objection(f"{network}:2::", next(USERS))) == held(540)


async def test_guesses_from_everywhere_hold_strangers_back_and_not_who_is_known(valkey_url: str) -> None:
    user, home = next(USERS), addresses()
    async with fleet(valkey_url) as both:
        (one, _), (other, _) = await both.relay(), await both.relay()
        one.succeeded(home, user)
        for _ in range(100):
            one.failed(addresses(), user)

        async def as_stranger() -> Reply | None:
            peer = addresses()
            assert await other.address_objection(peer, user) is None
            return await other.username_objection(peer, user)

        assert await soon(as_stranger) == held(540)
        assert await other.address_objection(home, user) is None
        assert await other.username_objection(home, user) is None
        both.now += 30 * 24 * 3600
        for _ in range(100):
            other.failed(addresses(), user)
        assert await other.username_objection(home, user) == held(540)


async def test_a_broken_device_does_not_stop_its_neighbours_who_are_known(valkey_url: str) -> None:
    office, user, broken = addresses(), next(USERS), next(USERS)
    async with fleet(valkey_url) as both:
        (one, _), (other, _) = await both.relay(), await both.relay()
        one.succeeded(office, user)
        for _ in range(10):
            one.failed(office, broken)
        for _ in range(20):
            one.failed(office, next(USERS))
        for guard in (one, other):
            assert await soon(lambda guard=guard: guard.address_objection(office, next(USERS))) == held(540)  # type: ignore[misc]  # a default binds it now
            assert await guard.address_objection(office, broken) == held(540)
            assert await guard.address_objection(office, user) is None
        # But nobody may guess this user's password from there for ever.
        for _ in range(10):
            one.failed(office, user)
        assert await one.address_objection(office, user) == held(540)


async def test_an_exempt_network_has_no_failures_of_its_own(valkey_url: str) -> None:
    mailer, user = addresses(), next(USERS)
    async with fleet(valkey_url) as both:
        one, _ = await both.relay(exempt=(ip_network(f"{mailer}/32"),))
        for _ in range(10):
            one.failed(mailer, user)
        for _ in range(90):
            one.failed(mailer, next(USERS))
        assert await one.address_objection(mailer, next(USERS)) is None
        assert await one.address_objection(mailer, user) == held(540)


@pytest.mark.requirement("CORE-SMTP-006")
@pytest.mark.parametrize("fixture", ["shared_valkey", "shared_cluster"])
async def test_all_relays_together_admit_ten_connections_a_minute(fixture: str, request: pytest.FixtureRequest) -> None:
    server: Valkey = request.getfixturevalue(fixture)
    peer = addresses()
    async with fleet(server.url, cluster=fixture == "shared_cluster") as both:
        (one, _), (other, asked) = await both.relay(), await both.relay()
        both.now = NOW + 12.5
        assert [await guard.admit(peer) for guard in [one, other] * 5] == [None] * 10
        assert [await guard.admit(peer) for guard in (one, other)] == [refused(48)] * 2
        before = asked.decisions
        assert [await other.admit(peer) for _ in range(20)] == [refused(48)] * 20
        assert asked.decisions == before, "over the limit nobody asks the cache"
        assert await other.admit(addresses()) is None
        both.now = NOW + 60
        assert await one.admit(peer) is None


@pytest.mark.requirement("CORE-SMTP-006")
async def test_who_signed_in_well_in_the_last_hour_is_not_limited_at_any_relay(own_valkey: Valkey) -> None:
    peer = addresses()
    async with fleet(own_valkey.url) as both:
        (one, asked), (other, _) = await both.relay(), await both.relay()
        one.succeeded(peer, next(USERS))
        assert [await one.admit(peer) for _ in range(50)] == [None] * 50
        assert asked.decisions == 0, "no round trip for who is known"
        await until(lambda: own_valkey.say("DBSIZE") == ":2")
        assert [await other.admit(peer) for _ in range(50)] == [None] * 50
        both.now += 3660
        assert [await other.admit(peer) for _ in range(11)] == [None] * 10 + [refused(60)]


@pytest.mark.requirement("CORE-SMTP-006")
@pytest.mark.parametrize(
    "rules", [{"connections_per_minute": 0}, {"exempt": (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))}]
)
async def test_the_limit_may_be_off_for_all_or_for_some(rules: dict[str, Any], valkey_url: str) -> None:
    async with fleet(valkey_url) as both:
        one, asked = await both.relay(**rules)
        for peer in (addresses(), f"::ffff:{addresses()}"):
            assert [await one.admit(peer) for _ in range(50)] == [None] * 50
        assert asked.decisions == 0
        one.rules = Rules(connections_per_minute=3)
        peer = addresses()
        assert [await one.admit(peer) for _ in range(4)] == [None] * 3 + [refused(60)]


async def test_a_peer_without_an_address_is_limited_like_any_other(valkey_url: str) -> None:
    async with fleet(valkey_url) as both:
        one, _ = await both.relay(connections_per_minute=1, exempt=(ip_network("10.0.0.0/8"),))
        assert [await one.admit("unknown"), await one.admit("unknown")][1] == refused(60)


@pytest.mark.requirement("EC-3")
async def test_without_the_cache_each_relay_counts_by_itself_and_with_it_again_all_do(own_valkey: Valkey) -> None:
    peer, user, later = addresses(), next(USERS), next(USERS)
    async with fleet(own_valkey.url) as both:
        (one, cache), (other, another) = await both.relay(), await both.relay()
        own_valkey.kill()
        for _ in range(10):
            assert await one.address_objection(peer, user) is None
            one.failed(peer, user)
        assert await one.address_objection(peer, user) == held(540)
        assert await other.address_objection(peer, user) is None
        assert [await one.admit(peer) for _ in range(11)] == [None] * 10 + [refused(60)]

        own_valkey.start()
        await until(lambda: cache.up and another.up)
        for _ in range(10):
            one.failed(peer, later)
        assert await soon(lambda: other.address_objection(peer, later)) == held(540)


async def test_a_cache_that_hangs_delays_nobody_for_long(own_valkey: Valkey) -> None:
    async with fleet(own_valkey.url) as both:
        one, _ = await both.relay()
        own_valkey.say("CLIENT PAUSE 3000")
        began = time.monotonic()
        assert await one.address_objection(addresses(), next(USERS)) is None
        assert await one.admit(addresses()) is None
        assert time.monotonic() - began < 0.4
        own_valkey.kill()


async def test_a_good_sign_in_is_told_again_when_the_cache_did_not_hear_of_it(own_valkey: Valkey) -> None:
    home, user = addresses(), next(USERS)
    async with fleet(own_valkey.url) as both:
        (one, cache), (other, another) = await both.relay(), await both.relay()
        own_valkey.kill()
        await until(lambda: not cache.up)
        asked = cache.asked
        one.succeeded(home, user)
        await until(lambda: cache.asked > asked)
        own_valkey.start()
        await until(lambda: cache.up and another.up)
        one.succeeded(home, user)
        await until(lambda: own_valkey.say("DBSIZE") == ":2")
        for _ in range(100):
            other.failed(addresses(), user)
        assert await other.address_objection(home, user) is None
        assert await other.username_objection(home, user) is None


@pytest.mark.requirement("CORE-SMTP-006")
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' has host bits set"),
        ("10.0.0.0/8, office", "'office' is not a network such as 10.0.0.0/8 or fd00::/8"),
    ],
)
def test_a_network_that_is_none_is_named(value: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        parse_networks(value)


def test_networks_are_parted_by_commas_or_blanks() -> None:
    assert parse_networks("10.0.0.0/8,fd00::/8 192.0.2.1") == tuple(
        map(ip_network, ["10.0.0.0/8", "fd00::/8", "192.0.2.1/32"])
    )
    assert parse_networks("") == ()
