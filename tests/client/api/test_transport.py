"""What stands between the command line and the API: busy servers, broken lines, certificates."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.client.api.terminal import Terminal
from tests.client.certificates import Authority
from tests.conftest import free_port

pytestmark = pytest.mark.anyio
EMPTY = b'{"items":[],"next":null}'
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
LIMITED = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
LATER = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n"
DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(EMPTY), EMPTY)


@asynccontextmanager
async def scripted(answers: Sequence[bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str]]]:
    """A server that gives these answers one after the other; it tells what it was sent."""
    seen: list[str] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A client that does not trust the certificate leaves in the middle.
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(left.pop(0))
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls):
        yield port, seen


async def test_a_busy_api_is_asked_again(terminal: Terminal) -> None:
    async with scripted([BUSY, LIMITED, DONE]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}/behind/", "the-key")
        assert (await terminal("accounts", "list")).told == (0, "", "there are none\n")
    assert [head.splitlines()[0] for head in seen] == ["GET /behind/api/v1/accounts HTTP/1.1"] * 3
    assert all("Authorization: Bearer the-key" in head.splitlines() for head in seen)


async def test_patience_ends(terminal: Terminal) -> None:
    async with scripted([BUSY] * 9) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        ran = await terminal("accounts", "list")
        assert ran.told == (69, "", "smtp-proxy: Service Unavailable (503) (Retry-After: 0 s)\n")
        assert len(seen) == 4
    async with scripted([LATER]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        assert (await terminal("accounts", "list")).code == 69
        assert len(seen) == 1


async def test_what_may_not_be_done_twice_is_sent_once(terminal: Terminal) -> None:
    async with scripted([BUSY]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        assert (await terminal("accounts", "disable", "shop")).code == 69
        assert len(seen) == 1


async def test_a_submission_is_repeated_under_its_name(terminal: Terminal) -> None:
    submit = ("messages", "submit", "-", "--letter")
    async with scripted([BUSY, b""]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        ran = await terminal(*submit, stdin="{}")
    names = [line for head in seen for line in head.splitlines() if line.startswith("Idempotency-Key: ")]
    assert len(names) == 2
    assert len(set(names)) == 1
    assert (ran.code, ran.out) == (69, "")
    assert ran.err.endswith(f"; repeat it with --idempotency-key {names[0].split()[1]}, and it is done once\n")


async def test_what_makes_something_is_repeated_under_its_name(terminal: Terminal) -> None:
    command = ("rules", "create", "all", "--priority", "1", "--action", '{"type": "discard"}')
    done = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"name": "r"}'
    again = BUSY.replace(b"503 Service Unavailable", b"409 Conflict")
    async with scripted([BUSY, again, done]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        ran = await terminal(*command)
    assert (ran.code, ran.lines) == (0, ["name  r"])
    assert len(sent_names(seen)) == 3
    assert len(set(sent_names(seen))) == 1
    async with scripted([done, done]) as (port, others):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        await terminal(*command)
        await terminal(*command, "--idempotency-key", "mine")
    assert sent_names(others)[1] == "mine"
    assert sent_names(others)[0] not in {"mine", *sent_names(seen)}


async def test_each_part_of_an_import_has_a_name_of_that_of_the_whole(terminal: Terminal) -> None:
    lines = "".join(f"{n}@far.example\n" for n in range(4001))
    done = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"count": 2000}'
    async with scripted([done, BUSY, done, b""]) as (port, seen):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        ran = await terminal("suppressions", "import", "-", "--idempotency-key", "mine", stdin=lines)
    assert sent_names(seen) == ["mine", "mine.1", "mine.1", "mine.2"]
    assert ran.code == 69
    assert "; repeat it with --idempotency-key mine, and it is done once" in ran.err


def sent_names(seen: list[str]) -> list[str]:
    lines = [line for head in seen for line in head.splitlines()]
    return [line.removeprefix("Idempotency-Key: ") for line in lines if line.startswith("Idempotency-Key: ")]


async def test_something_else_answers(terminal: Terminal) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>"
    words = "smtp-proxy: what answers is not the API: is the URL of the profile right?\n"
    async with scripted([page] * 4) as (port, _):
        terminal.profile("p", f"http://127.0.0.1:{port}", "key")
        for command in (["accounts", "list"], ["messages", "search", "--all"], ["messages", "show", "x"]):
            assert (await terminal(*command)).told == (69, "", words)
        assert (await terminal("accounts", "list", "--json")).told == (69, "", words)


async def test_what_no_header_can_hold(terminal: Terminal) -> None:
    terminal.profile("p", f"http://127.0.0.1:{free_port()}", "key")
    for name in ("\N{SNOWMAN}", "a\r\nX-More: b"):
        ran = await terminal("messages", "submit", "-", "--letter", "--idempotency-key", name, stdin="{}")
        assert (ran.code, ran.out) == (2, "")


async def test_nobody_there(terminal: Terminal) -> None:
    terminal.profile("p", f"http://127.0.0.1:{free_port()}", "key")
    assert (await terminal("accounts", "list")).told == (69, "", "smtp-proxy: http://HERE: Connection refused\n")
    changed = await terminal("accounts", "disable", "shop")
    assert changed.err == changed.err.partition("; ")[0] + "; it may have been done all the same\n"


async def test_no_answer_in_time(terminal: Terminal) -> None:
    # The kernel takes connections for it; nobody ever reads them.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        terminal.profile("p", f"http://127.0.0.1:{silent.getsockname()[1]}", "key")
        ran = await terminal("accounts", "list", "--timeout", "0.2")
    assert ran.told == (69, "", "smtp-proxy: http://HERE: there was no answer in time\n")


async def test_a_certificate_is_verified(terminal: Terminal, authority: Authority) -> None:
    context = authority.context("localhost", "127.0.0.1")
    async with scripted([DONE], context) as (port, seen):
        terminal.profile("p", f"https://127.0.0.1:{port}", "key")
        refused = await terminal("accounts", "list")
        assert (refused.code, refused.out, seen) == (69, "", [])
        assert "its certificate is not trusted: " in refused.err
        trusted = await terminal("accounts", "list", "--ca", str(authority.file))
        assert trusted.told == (0, "", "there are none\n")
    wrong = await terminal("accounts", "list", "--ca", str(terminal.config))
    assert (wrong.code, "holds no certificates" in wrong.err) == (2, True)


@pytest.mark.parametrize("url", ["http://api.example.com", "ftp://127.0.0.1", "https://", "https://a:b@c/", "x"])
async def test_no_key_goes_to_such_an_address(terminal: Terminal, url: str, tmp_path: Path) -> None:
    terminal.profile("p", url, "key")
    ran = await terminal("accounts", "list")
    assert (ran.code, ran.out) == (2, "")
    added = await terminal("profile", "add", "q", "--url", url, "--key-file", str(tmp_path / "key-p"))
    assert added == ran
