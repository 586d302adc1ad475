"""Change notices over a real Valkey, alone and as a cluster."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.cache import Cache, Pace, publish
from backing.notices import CHANNEL, MAX_SUBJECT, Kind, Listener, MalformedNotice, Notice, decode, encode
from backing.notices import publish as tell
from backing.settings import CacheSettings
from mail.errors import Unavailable
from tests.valkey import Valkey
from tests.waiting import until

QUICK = Pace(first=0.02, longest=0.08, pulse=0.2)
notices = st.builds(Notice, st.sampled_from(get_args(Kind)), st.text(max_size=MAX_SUBJECT))


@asynccontextmanager
async def cache(url: str, *, cluster: bool = False) -> AsyncIterator[Cache]:
    settings = CacheSettings(database_url="postgresql://app@127.0.0.1:1/none", cache_url=url, cache_cluster=cluster)
    async with Cache(settings, Aws("eu-central-1"), pace=QUICK).opened() as opened:
        yield opened


class Ear:
    """What a process that listens would do with notices."""

    def __init__(self) -> None:
        self.heard: list[Notice] = []
        self.missed = 0

    def miss(self) -> None:
        self.missed += 1


@asynccontextmanager
async def listening(here: Cache, *more: Any) -> AsyncIterator[Ear]:
    ear = Ear()
    async with Listener(here, [*more, ear.heard.append], ear.miss, QUICK).running():
        if here.configured:
            await until(lambda: ear.missed)
        yield ear


@given(notices)
def test_a_notice_is_read_as_it_was_written(notice: Notice) -> None:
    assert decode(encode(notice)) == notice


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"account",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'"account"',
        b'{"kind":"account"}',
        b'{"kind":"weather","subject":"rain"}',
        b'{"kind":["account"],"subject":"x"}',
        b'{"kind":"account","subject":1}',
        b"[" * 100_000,
        json.dumps({"kind": "account", "subject": "x" * (MAX_SUBJECT + 1)}).encode(),
    ],
)
def test_what_is_no_notice_is_told_apart(data: bytes) -> None:
    with pytest.raises(MalformedNotice):
        decode(data)


@pytest.mark.anyio
@pytest.mark.parametrize("fixture", ["shared_valkey", "shared_cluster"])
async def test_every_process_hears_what_one_publishes(fixture: str, request: pytest.FixtureRequest) -> None:
    server: Valkey = request.getfixturevalue(fixture)
    cluster = fixture == "shared_cluster"
    sent = [Notice("account", "1"), Notice("credential", "app"), Notice("suppression", "2"), Notice("transcript", "3")]
    async with AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(cache(server.url, cluster=cluster)) for _ in range(3)]
        ears = [await stack.enter_async_context(listening(one)) for one in caches]
        for notice in sent:
            await tell(caches[0], notice)
        for ear in ears:
            await until(lambda ear=ear: len(ear.heard) == len(sent))  # type: ignore[misc]  # a default binds it now
            assert (ear.heard, ear.missed) == (sent, 1)


@pytest.mark.anyio
async def test_what_is_not_understood_and_who_fails_keep_nobody_from_hearing(valkey_url: str) -> None:
    def fails(_: Notice) -> None:
        raise RuntimeError("a handler of ours is broken")

    with capture_logs() as lines:
        async with cache(valkey_url) as here, listening(here, fails) as ear:
            await here.ask([publish(CHANNEL, b"\x00 what?")])
            await tell(here, Notice("account", "1"))
            await until(lambda: ear.heard)
    assert ear.heard == [Notice("account", "1")]
    events = [line["event"] for line in lines]
    assert events == ["cache answers", "change notice not understood", "change notice not handled"]


@pytest.mark.anyio
@pytest.mark.requirement("EC-3")
async def test_after_a_cache_that_died_the_listener_hears_again_and_knows_what_it_missed(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url) as here, listening(here) as ear:
        own_valkey.kill()
        with pytest.raises(Unavailable):
            await tell(here, Notice("account", "lost"))
        own_valkey.start()
        await until(lambda: ear.missed == 2 and here.up)
        await tell(here, Notice("account", "heard"))
        await until(lambda: ear.heard)
    assert ear.heard == [Notice("account", "heard")]


@pytest.mark.anyio
async def test_a_listener_whose_connection_is_cut_subscribes_again(own_valkey: Valkey) -> None:
    async with cache(own_valkey.url) as here, listening(here) as ear:
        own_valkey.say("CLIENT KILL TYPE pubsub")
        await until(lambda: ear.missed == 2)
        await tell(here, Notice("account", "1"))
        await until(lambda: ear.heard)


@pytest.mark.anyio
async def test_without_a_cache_a_listener_hears_nothing_and_keeps_nobody() -> None:
    async with cache("") as here, listening(here) as ear:
        with pytest.raises(Unavailable):
            await tell(here, Notice("account", "1"))
    assert (ear.heard, ear.missed) == ([], 0)
