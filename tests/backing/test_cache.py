"""The cache against real Valkey servers: alone, as a cluster, and gone."""

import asyncio
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from prometheus_client import CollectorRegistry, Gauge
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.cache import PREFIX, Cache, Pace, add, get, publish, put, tally
from backing.settings import CacheSettings, ConfigurationError, read
from mail.errors import Unavailable
from tests.valkey import Valkey
from tests.waiting import until

pytestmark = pytest.mark.anyio
AWS = Aws("eu-central-1")
QUICK = Pace(first=0.02, longest=0.08, pulse=0.05)


def settings(url: str, **more: Any) -> CacheSettings:
    return CacheSettings(database_url="postgresql://app@127.0.0.1:1/none", cache_url=url, **more)


def gauge() -> Gauge:
    return Gauge("up", "Up.", registry=CollectorRegistry())


def value(metric: Gauge) -> float:
    return next(iter(metric.collect())).samples[0].value


@asynccontextmanager
async def cache(url: str, *, cluster: bool = False, pace: Pace = QUICK) -> AsyncIterator[Cache]:
    async with Cache(settings(url, cache_cluster=cluster), AWS, gauge(), pace).opened() as opened:
        yield opened


@pytest.fixture(params=["alone", "cluster"])
def kind(request: pytest.FixtureRequest) -> Iterator[tuple[Valkey, bool]]:
    """A server, and whether it is a cluster; a test may kill it."""
    cluster = request.param == "cluster"
    server: Valkey = request.getfixturevalue("shared_cluster" if cluster else "shared_valkey")
    yield server, cluster
    if server.say("PING") != "+PONG":
        server.start()
        if cluster:
            server.make_cluster()


async def test_one_pipeline_holds_commands_of_any_keys(kind: tuple[Valkey, bool]) -> None:
    server, cluster = kind
    until_when = int(time.time()) + 3600
    async with cache(server.url, cluster=cluster) as here:
        answers = await here.ask(
            [
                put("a", b"1", 60),
                get("a"),
                get("nothing"),
                add("counter", 2, 60),
                add("counter", 3, 60),
                tally("total", "one", 5, until_when),
                tally("total", "two", 7, until_when),
                publish("nobody", b"hears"),
            ]
        )
        assert answers == [True, b"1", None, 2, 5, 5, 12, 0]
        ttl = [int(server.say(f"TTL {PREFIX}{key}").removeprefix(":")) for key in ("a", "counter", "total")]
        assert 50 < ttl[0] <= 60
        assert 50 < ttl[1] <= 60
        assert 3590 < ttl[2] <= 3600


async def test_a_tally_may_be_repeated_corrected_and_told_to_a_cache_that_forgot(kind: tuple[Valkey, bool]) -> None:
    server, cluster = kind
    end = int(time.time()) + 3600
    async with cache(server.url, cluster=cluster) as here:
        assert await here.ask([tally("t", "one", 5, end)] * 2) == [5, 5]
        assert await here.ask([tally("t", "two", 10, end), tally("t", "one", 4, end)]) == [15, 14]
        server.say("FLUSHALL")
        assert await here.ask([tally("t", "one", 6, end), tally("t", "two", 10, end)]) == [6, 16]


async def test_a_counter_ends_with_its_window_however_often_it_is_used(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url) as here:
        await here.ask([add("window", 1, 1)])
        await here.ask([add("window", 1, 3600)])
        assert own_valkey.say(f"TTL {PREFIX}window") in {":0", ":1"}


async def test_a_cache_that_dies_costs_one_bounded_call_and_then_nothing(kind: tuple[Valkey, bool]) -> None:
    server, cluster = kind
    up = gauge()
    with capture_logs() as lines:
        async with Cache(settings(server.url, cache_cluster=cluster), AWS, up, QUICK).opened() as here:
            await here.ask([put("a", b"1", 60)])
            assert (here.up, value(up)) == (True, 1)

            server.kill()
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await here.ask([get("a")])
            assert time.monotonic() - began < 0.6
            assert (here.up, value(up)) == (False, 0)

            began = time.monotonic()
            for _ in range(1000):
                with pytest.raises(Unavailable):
                    await here.ask([get("a")])
            assert time.monotonic() - began < 0.5

            server.start()
            if cluster:
                server.make_cluster()
            await until(lambda: here.up)
            assert await here.ask([get("a")]) == [None]
            assert value(up) == 1
    assert [line["event"] for line in lines] == ["cache answers", "cache away", "cache answers"]


async def test_a_cache_that_dies_unasked_is_found_out_by_the_pulse(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url) as here:
        own_valkey.kill()
        await until(lambda: not here.up)


async def test_a_cache_that_hangs_is_waited_for_no_longer_than_said(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url, pace=replace(QUICK, pulse=5, first=5)) as here:
        own_valkey.say("CLIENT PAUSE 2000")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await here.ask([get("a")], seconds=0.1)
        assert 0.05 < time.monotonic() - began < 0.3
        assert not here.up


async def test_a_waiting_caller_that_goes_away_leaves_the_answers_in_step(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url, pace=replace(QUICK, pulse=5)) as here:
        await here.ask([put("a", b"1", 60), put("b", b"2", 60)])
        own_valkey.say("CLIENT PAUSE 100")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await here.ask([get("a")])
        assert await here.ask([get("b")]) == [b"2"]


async def test_more_callers_than_connections_are_all_served(valkey_url: str) -> None:
    key = str(uuid.uuid1())
    async with cache(valkey_url) as here:
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(here.ask([add(key, 1, 60)], seconds=5)) for _ in range(200)]
        assert sorted(call.result()[0] for call in calls) == list(range(1, 201))


async def test_what_the_server_refuses_is_no_reason_to_leave_it(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url) as here:
        await here.ask([put("text", b"no number", 60)])
        with pytest.raises(Unavailable, match="not an integer"):
            await here.ask([add("text", 1, 60)])
        assert here.up


async def test_without_an_address_every_call_fails_at_once() -> None:
    async with cache("") as here:
        assert not here.configured
        with pytest.raises(Unavailable):
            await here.ask([get("a")])
        with pytest.raises(Unavailable):
            async with here.subscription("changes"):
                pass


async def test_an_absent_cache_is_no_reason_not_to_start(own_valkey: Valkey) -> None:
    own_valkey.kill()
    began = time.monotonic()
    async with cache(own_valkey.url) as here:
        assert time.monotonic() - began < 2.5
        assert not here.up
        own_valkey.start()
        await until(lambda: here.up)


async def test_a_server_that_says_nothing_is_no_reason_not_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        async with cache(f"redis://127.0.0.1:{silent.getsockname()[1]}") as here:
            assert time.monotonic() - began < 2.5
            assert not here.up


async def test_a_subscription_hears_what_is_published_and_notices_the_end(kind: tuple[Valkey, bool]) -> None:
    server, cluster = kind
    async with cache(server.url, cluster=cluster) as here, here.subscription("changes") as subscription:
        for n in range(3):
            await here.ask([publish("changes", b"%d" % n)])
        assert [await subscription.next() for _ in range(3)] == [b"0", b"1", b"2"]
        server.kill()
        with pytest.raises(Unavailable):
            await subscription.next()


@pytest.mark.requirement("ECS-010")
@pytest.mark.parametrize("serverless", [False, True])
async def test_a_token_is_a_connect_request_signed_by_the_role(serverless: bool) -> None:  # noqa: FBT001 - a parameter of the test
    token = await AWS.cache_token("relay", "Mail-Cache", serverless=serverless)
    parts = urlsplit(f"http://{token}")
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    signature, stamp = query.pop("X-Amz-Signature"), query["X-Amz-Date"]

    again = AWSRequest("GET", f"http://{parts.netloc}/", params=query)
    again.context["timestamp"] = stamp
    oracle = SigV4QueryAuth(Credentials("test", "test"), "elasticache", "eu-central-1")
    assert signature == oracle.signature(oracle.string_to_sign(again, oracle.canonical_request(again)), again)

    assert (parts.netloc, parts.path) == ("mail-cache", "/")
    assert query == {
        "Action": "connect",
        "User": "relay",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"test/{stamp[:8]}/eu-central-1/elasticache/aws4_request",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
    } | ({"ResourceType": "ServerlessCache"} if serverless else {})


@pytest.mark.requirement("ECS-010")
@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"CACHE_URL": "redis://user:secret@cache:6379"}, "CACHE_URL: Value error, must not hold a password"),
        ({"CACHE_URL": "http://cache:6379"}, "CACHE_URL: Value error, must be redis://host:port"),
        ({"CACHE_URL": "redis://"}, "CACHE_URL: Value error, must be redis://host:port"),
        ({"CACHE_URL": "redis://c:1", "CACHE_IAM_USER": "u", "CACHE_NAME": "n"}, "CACHE_IAM_USER needs CACHE_NAME"),
        ({"CACHE_URL": "rediss://c:1", "CACHE_IAM_USER": "u"}, "CACHE_IAM_USER needs CACHE_NAME"),
    ],
)
def test_settings_that_could_not_work_are_named(
    environment: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items() | {("DATABASE_URL", "postgresql://app@db/mail")}:
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read(CacheSettings)
    assert str(caught.value).startswith(complaint)
    assert "secret" not in str(caught.value)


async def test_whoever_is_cancelled_while_he_asks_does_end(valkey_url: str) -> None:
    async with cache(valkey_url) as here:

        async def ask_on() -> None:
            while True:
                with suppress(Unavailable):
                    await here.ask([get("a")])

        async with asyncio.TaskGroup() as tasks:
            for turns in range(40):
                asking = tasks.create_task(ask_on())
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                asking.cancel()
                await until(asking.done, 1)
                await until(lambda: here.up)
