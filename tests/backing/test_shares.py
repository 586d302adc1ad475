"""What processes share through a cache: real Valkey servers, alone and as a cluster."""

import time
import uuid
from collections.abc import AsyncIterator

import pytest

from backing.aws import Aws
from backing.cache import PREFIX, Cache, Command
from backing.settings import CacheSettings
from backing.shares import claim, draw, lease, note, notes, release
from tests.valkey import Valkey

pytestmark = pytest.mark.anyio
Shared = tuple[Valkey, Cache]


@pytest.fixture(params=["alone", "cluster"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    cluster = request.param == "cluster"
    server: Valkey = request.getfixturevalue("shared_cluster" if cluster else "shared_valkey")
    settings = CacheSettings(
        database_url="postgresql://app@127.0.0.1:1/none", cache_url=server.url, cache_cluster=cluster
    )
    async with Cache(settings, Aws("eu-central-1")).opened() as cache:
        yield server, cache


async def test_a_bucket_gives_no_more_than_fills_it(shared: Shared) -> None:
    server, here = shared
    key = f"bucket:{uuid.uuid1()}"
    # Tokens wanted, the time, and what is given of ten in a second, twenty at most.
    steps = [(5, 1000.0, 5), (99, 1000.0, 15), (1, 1000.0, 0), (99, 1000.25, 2.5), (-1.5, 1000.25, -1.5)]
    steps += [(99, 999.0, 1.5), (99, 1000.5, 2.5), (-99, 1000.5, -99), (99, 1000.5, 20), (99, 5000.0, 20)]
    answers = await here.ask([lease(key, 10.0, 20.0, float(wanted), at) for wanted, at, _ in steps])
    assert [float(answer) for answer in answers] == [given for _, _, given in steps]
    assert 50 < int(server.say(f"TTL {PREFIX}{key}").removeprefix(":")) <= 62


async def test_an_allowance_is_drawn_once_and_whole(shared: Shared) -> None:
    server, here = shared
    key, end = f"allowance:{uuid.uuid1()}", int(time.time()) + 3600

    def drawn(source: str, mine: int, wanted: int, cap: int = 100) -> Command:
        return draw(key, source, mine, wanted, cap, end)

    assert await here.ask([drawn("one", 0, 60), drawn("two", 0, 60)]) == [[60, 60], [40, 100]]
    # The answer was lost: it is asked again for the same.
    assert await here.ask([drawn("two", 0, 40)]) == [[40, 100]]
    # Some is given back, and drawn by another.
    assert await here.ask([drawn("one", 50, 0), drawn("two", 40, 60)]) == [[0, 90], [10, 100]]
    server.say("FLUSHALL")
    assert await here.ask([drawn("one", 50, 0), drawn("two", 50, 1)]) == [[0, 50], [0, 100]]
    # A lower cap takes nothing away, and gives nothing.
    assert await here.ask([drawn("one", 50, 5, 70)]) == [[0, 100]]
    assert 3590 < int(server.say(f"TTL {PREFIX}{key}").removeprefix(":")) <= 3600


async def test_a_claim_is_one_owners_until_it_ends(shared: Shared) -> None:
    server, here = shared
    key = f"claim:{uuid.uuid1()}"
    assert await here.ask([claim(key, "one", 60), claim(key, "two", 60)]) == [True, None]
    assert await here.ask([release(key, "two"), claim(key, "two", 60)]) == [0, None]
    assert await here.ask([release(key, "one"), claim(key, "two", 60)]) == [1, True]
    assert 50 < int(server.say(f"TTL {PREFIX}{key}").removeprefix(":")) <= 60


async def test_a_record_keeps_the_latest_word_on_each_matter(shared: Shared) -> None:
    server, here = shared
    key = f"record:{uuid.uuid1()}"
    words = [note(key, "a", b"1", 60), note(key, "b", b"\xff", 60), note(key, "a", b"2", 600)]
    assert await here.ask([notes(key), *words, notes(key)]) == [{}, 1, 1, 1, {b"a": b"2", b"b": b"\xff"}]
    assert 590 < int(server.say(f"TTL {PREFIX}{key}").removeprefix(":")) <= 600
