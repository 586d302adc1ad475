"""What the cache's users may do: what the code of their service asks for, proved by a Valkey that allows no more."""

import ast
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backing import cache, shares
from backing.aws import Aws
from backing.cache import Cache, Command
from backing.settings import CacheSettings
from infra.cache_users import COMMANDS, PREFIX, access_strings
from mail.errors import Unavailable
from tests.valkey import Valkey

ROOT = Path(__file__).parents[2]
COMMAND: dict[str, Callable[[], Command]] = {
    "get": lambda: cache.get("k"),
    "put": lambda: cache.put("k", b"v", 60),
    "add": lambda: cache.add("n", 1, 60),
    "tally": lambda: cache.tally("t", "me", 1, 4_000_000_000),
    "publish": lambda: cache.publish("changes", b"{}"),
    "lease": lambda: shares.lease("b", 1, 1, 1, 1),
    "draw": lambda: shares.draw("a", "me", 0, 1, 1, 4_000_000_000),
    "claim": lambda: shares.claim("c", "me", 60),
    "release": lambda: shares.release("c", "me"),
    "note": lambda: shares.note("r", "f", b"v", 60),
    "notes": lambda: shares.notes("r"),
}
# The rooms, and what of `backing` only the operator's command uses, which signs in as web does.
FILES = {
    "relay": [*ROOT.glob("relay/**/*.py")],
    "worker": [*ROOT.glob("worker/**/*.py")],
    "web": [*ROOT.glob("web/**/*.py"), *ROOT.glob("backing/commands/*.py")],
}


def builders(files: list[Path]) -> set[str]:
    """The commands that files build, with those of the modules of `backing` that they use."""
    found, seen, rest = {"get"}, set[Path](), list(files)  # whoever connects asks for its pulse
    while rest:
        file = rest.pop()
        if file in seen:
            continue
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("backing"):
                continue
            names = {alias.name for alias in node.names}
            if node.module in {"backing.cache", "backing.shares"}:
                found |= names & COMMAND.keys()
            paths = [(node.module or "").replace(".", "/")]
            paths += [f"{paths[0]}/{name}" for name in names]
            rest += [path for each in paths if (path := ROOT / f"{each}.py").exists()]
    return found


def called(builder: str) -> set[str]:
    """What a command calls, and what its script does."""
    command = COMMAND[builder]()
    script = str(command[1]) if command[0] == "EVAL" else ""
    return {str(command[0]).lower(), *(name.lower() for name in re.findall(r"redis\.call\('(\w+)'", script))}


def test_every_command_of_the_code_is_known_here() -> None:
    made = {
        name
        for module in (cache, shares)
        for name, thing in vars(module).items()
        if getattr(thing, "__module__", "") == module.__name__
        and getattr(thing, "__annotations__", {}).get("return") is Command
    }
    assert made == set(COMMAND)
    assert cache.PREFIX == PREFIX


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("room", FILES)
def test_a_room_may_call_exactly_what_it_calls(room: str) -> None:
    assert FILES[room]
    needed = {name for builder in builders(FILES[room]) for name in called(builder)}
    assert set(COMMANDS[room]) == needed | {"publish", "subscribe"}


@pytest.fixture(params=["alone", "cluster"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[Valkey, bool]]:
    cluster = request.param == "cluster"
    shared: Valkey = request.getfixturevalue("shared_cluster" if cluster else "shared_valkey")
    assert shared.say("ACL SETUSER keeper on >open ~* &* +@all") == "+OK"
    yield shared, cluster
    assert shared.say("AUTH keeper open", "ACL SETUSER default reset on nopass ~* &* +@all") == "+OK"
    # Other files use the same server.
    assert shared.say("FLUSHALL") == "+OK"


@asynccontextmanager
async def signed_in(server: tuple[Valkey, bool], room: str) -> AsyncGenerator[Cache]:
    """Open a cache whose nameless user has the access of a room's."""
    valkey, cluster = server
    allowed = f"ACL SETUSER default reset nopass {access_strings()[room]}"
    assert valkey.say("AUTH keeper open", allowed) == "+OK"
    settings = CacheSettings(database_url="postgresql://x@127.0.0.1/x", cache_url=valkey.url, cache_cluster=cluster)
    async with Cache(settings, Aws("us-east-1")).opened() as opened:
        assert opened.up
        yield opened


@pytest.mark.anyio
@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("room", FILES)
async def test_a_cache_that_allows_no_more_serves_the_room(server: tuple[Valkey, bool], room: str) -> None:
    async with signed_in(server, room) as opened:
        for builder in sorted(builders(FILES[room])):
            await opened.ask([COMMAND[builder]()])
        async with opened.subscription("changes") as heard:
            await opened.ask([cache.publish("changes", b"news")])
            assert await heard.next() == b"news"


@pytest.mark.anyio
@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("room", FILES)
@pytest.mark.parametrize(
    "command",
    [
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("HDEL", "smtp-proxy:r", "f"),
        ("GET", "elsewhere"),
        ("PUBLISH", "elsewhere", "x"),
        ("EVAL", "return redis.call('FLUSHALL')", 0),
        ("EVAL", "return redis.call('GET', KEYS[1])", 1, "elsewhere"),
    ],
)
async def test_it_serves_nothing_else(server: tuple[Valkey, bool], room: str, command: Command) -> None:
    async with signed_in(server, room) as opened:
        with pytest.raises(Unavailable, match=r"(?i)permission"):
            await opened.ask([command])
