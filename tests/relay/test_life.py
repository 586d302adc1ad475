"""How sessions are limited, and how they end: idle, in error, with the relay."""

import asyncio
import gc
import resource
import socket
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from mail.errors import Unavailable
from relay.smtp.dialogue import Dialogue
from relay.smtp.session import RelaySMTP
from tests.relay.house import Files, Peer, Running, relay, until
from tests.relay.test_fragments import Pipe

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("CORE-SMTP-005")
async def test_above_the_limit_a_session_is_greeted_and_sent_away(files: Files) -> None:
    async with relay(files, relay_max_connections=2) as running:
        first, _ = await running.signed_in(), await running.signed_in()
        for implicit in (True, False):
            third = await running.connect(implicit_tls=implicit)
            await third.expect("421 4.3.2 Too many sessions, try again later ref=")
            assert await third.rest() == b""
        assert running.counted("relay_connections_total", result="refused") == 2
        await first.ask("QUIT", "221")
        await first.rest()
        await running.signed_in()


@pytest.mark.requirement("CORE-SMTP-007")
@pytest.mark.parametrize("state", ["before EHLO", "at rest", "in a line", "in AUTH"])
async def test_silence_ends_a_session(files: Files, state: str) -> None:
    async with relay(files, relay_idle_timeout_seconds=0.2) as running:
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        if state != "before EHLO":
            await peer.ask("EHLO a.example", "250")
            peer.send({"at rest": b"", "in a line": b"NOO", "in AUTH": b"AUTH LOGIN\r\n"}[state])
        if state == "in AUTH":
            await peer.expect("334")
        await peer.expect("421 4.4.2 Idle for too long, closing ref=")
        assert await peer.rest() == b""
        assert running.queue.sent == []


@pytest.mark.requirement("CORE-SMTP-007")
async def test_a_slow_client_is_not_an_idle_one(files: Files) -> None:
    async with relay(files, relay_idle_timeout_seconds=0.3) as running:
        peer = await running.signed_in()
        await peer.envelope()
        for _ in range(12):
            peer.send(b"x\r\n")
            await asyncio.sleep(0.05)
        peer.send(b".\r\n")
        await peer.expect("250 ")


async def test_silence_in_the_handshake_ends_the_connection(files: Files) -> None:
    async with relay(files, relay_idle_timeout_seconds=0.2) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=True))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()


async def test_twenty_errors_end_a_session_and_an_accepted_message_forgives_them(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        for _ in range(2):
            for _ in range(19):
                await peer.ask("FOO", "500 5.5.2")
            assert (await peer.submit(b"x")).startswith("250 ")
        for _ in range(20):
            await peer.ask("FOO", "500 5.5.2")
        await peer.expect("421 4.7.0 Too many errors, closing ref=")
        assert await peer.rest() == b""


@pytest.mark.requirement("CORE-SMTP-009")
async def test_a_drain_sends_the_idle_away_and_lets_the_others_finish(files: Files) -> None:
    async with relay(files) as running, asyncio.TaskGroup() as tasks:
        idle, sending, waiting, begun = [await running.signed_in() for _ in range(4)]
        await sending.envelope()
        sending.send(b"half a ")
        await begun.ask("MAIL FROM:<me@example.com>", "250")
        running.queue.answers.clear()
        await waiting.envelope()
        waiting.send(b"whole\r\n.\r\n")
        await running.queue.asked.wait()

        drain = tasks.create_task(running.server.drain())
        await idle.expect("421 4.3.2 Shutting down, try again ref=")
        assert await idle.rest() == b""
        assert not running.server.ready
        with pytest.raises(ConnectionError):
            await running.connect()
        sending.send(b"message\r\n.\r\n")
        running.queue.answers.set()
        for peer in (sending, waiting):
            await peer.expect("250 2.0.0 queued as")
            await peer.expect("421 4.3.2")
            assert await peer.rest() == b""
        await begun.ask("RCPT TO:<you@example.net>", "250")
        await begun.ask("DATA", "354")
        await begun.ask(".", "250 2.0.0")
        await begun.expect("421 4.3.2")
        await drain
        assert len(running.queue.sent) == 3
    assert (running.server.tally.sessions, running.server.tally.accepted, running.server.tally.cut) == (4, 3, 0)


async def test_in_the_grace_period_new_sessions_are_served(files: Files) -> None:
    async with relay(files, relay_grace_seconds=60) as running, asyncio.TaskGroup() as tasks:
        running.server.stop()
        drain = tasks.create_task(running.server.drain())
        await until(lambda: not running.server.ready)
        peer = await running.signed_in()
        assert (await peer.submit(b"late")).startswith("250 ")
        running.server.stop()
        await drain
        assert (await peer.rest()).startswith(b"421 4.3.2 ")


async def test_a_drain_ends_hard_where_a_client_does_not(files: Files) -> None:
    async with relay(files, relay_drain_seconds=0.1) as running:
        peer = await running.signed_in()
        await peer.envelope()
        await running.server.drain()
        running.server.stop()
    assert running.server.tally.cut == 1
    assert (await peer.rest()).startswith(b"421 4.3.2 ")


@pytest.mark.requirement("SC-10.1")
@pytest.mark.requirement("SCALE-002")
async def test_a_draining_relay_sends_sessions_away_at_their_next_command(files: Files) -> None:
    async with (
        relay(files, relay_idle_drain_seconds=60, relay_drain_seconds=100) as running,
        asyncio.TaskGroup() as tasks,
    ):
        asking, quitting, sending, silent = [await running.signed_in() for _ in range(4)]
        await sending.envelope()
        drain = tasks.create_task(running.server.drain())
        await until(lambda: running.server.draining)
        sending.send(b"x\r\n.\r\n")
        await sending.expect("250 2.0.0 queued as")
        await asking.ask("MAIL FROM:<me@example.com>", "421 4.3.2 Shutting down, try again ref=")
        await quitting.ask("QUIT", "221 ")
        await sending.ask("NOOP", "421 4.3.2 ")
        for peer in (asking, quitting, sending):
            assert await peer.rest() == b""
        assert not drain.done()
        await silent.ask("RSET", "421 4.3.2 ")
        assert await silent.rest() == b""
        await drain
    assert (running.server.tally.sessions, running.server.tally.cut) == (4, 0)


async def test_who_says_nothing_is_sent_away_unasked_in_the_end(files: Files) -> None:
    async with relay(files, relay_idle_drain_seconds=0.2, relay_drain_seconds=100) as running:
        silent, began = await running.signed_in(), asyncio.get_running_loop().time()
        await running.server.drain()
        assert (await silent.rest()).startswith(b"421 4.3.2 ")
        assert 0.2 <= asyncio.get_running_loop().time() - began < 10
    assert running.server.tally.cut == 0


@pytest.mark.requirement("SC-10.1")
async def test_who_came_before_the_drain_and_speaks_first_in_it_is_sent_away(files: Files) -> None:
    async with relay(files, relay_idle_drain_seconds=60, relay_drain_seconds=100) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=True))
        peer = Peer(reader, writer, running.trust)
        await sessions(running, 1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(running.server.drain())
            await until(lambda: running.server.draining)
            await writer.start_tls(running.trust, server_hostname="localhost")
            await peer.expect("421 4.3.2 Shutting down, try again ref=")
            assert await peer.rest() == b""
        await peer.close()
    assert running.counted("relay_shed_total", reason="draining") == 1


async def test_who_never_says_who_he_is_does_not_hold_up_the_end(files: Files) -> None:
    loop = asyncio.get_running_loop()
    async with relay(files, relay_proxy_networks="127.0.0.0/8") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port())
        await until(lambda: bool(running.server._connected))  # noqa: SLF001 - it has no session yet
        ended = loop.time()
    assert loop.time() - ended < 10
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert (running.server.tally.sessions, running.server.tally.cut) == (0, 0)


@pytest.mark.requirement("CORE-SMTP-005")
async def test_far_above_the_limit_a_connection_is_cut_without_a_word(files: Files) -> None:
    async with relay(files, relay_max_connections=1) as running:
        port = running.port(implicit_tls=True)
        # A hundred are still told; as long as they keep silent, they are there.
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(101)]
        await sessions(running, 101)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert len(running.server.sessions) == 101
        assert running.counted("relay_connections_total", result="refused") == 1
        assert running.counted("relay_shed_total", reason="sessions") == 1
        for _, each in [*waiting, (reader, writer)]:
            each.transport.abort()


@pytest.mark.requirement("SC-10.1")
async def test_a_commit_that_outlasts_the_drain_is_not_acknowledged(files: Files) -> None:
    async with relay(files, relay_drain_seconds=0.1) as running:
        peer = await running.signed_in()
        running.queue.answers.clear()
        await peer.envelope()
        peer.send(b"x\r\n.\r\n")
        await running.queue.asked.wait()
        await running.server.drain()
        running.queue.fault = Unavailable("SQS: cut off")
        asyncio.get_running_loop().call_later(0.2, running.queue.answers.set)
    assert (await peer.rest()).startswith(b"421 4.3.2 ")
    assert (running.server.tally.accepted, running.server.tally.cut) == (0, 1)


async def sessions(running: Running, number: int) -> list[Dialogue]:
    """The sessions of a relay, once there are so many."""
    await until(lambda: len(running.server.sessions) == number)
    return running.server.sessions


def resident() -> int:
    """Octets of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("command", ["EHLO client.example", "HELP"])
async def test_a_client_that_does_not_read_cannot_grow_memory_or_delay_others(files: Files, command: str) -> None:
    async with relay(files) as running:
        loop, flood = asyncio.get_running_loop(), command.encode() + b"\r\n"
        other = await running.signed_in()
        before = resident()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.setblocking(False)
            await loop.sock_connect(deaf, ("127.0.0.1", running.port()))
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(loop.sock_sendall(deaf, flood * 100_000))
                (talker,) = [one for one in await sessions(running, 2) if not one.session.authenticated]
                slowest = 0.0
                for _ in range(20):
                    began = loop.time()
                    await other.ask("NOOP", "250")
                    slowest = max(slowest, loop.time() - began)
                assert (await other.submit(b"x")).startswith("250")
                await until(lambda: talker.octets_in > 100_000)
                read = -1
                while read != talker.octets_in:
                    read = talker.octets_in
                    await asyncio.sleep(0.1)
                assert read < len(flood) * 90_000
                assert resident() - before < 10_000_000
                assert slowest < 0.3
                sending.cancel()


@pytest.mark.requirement("CORE-OPS-001")
async def test_a_share_of_the_accepted_messages_is_logged_and_every_other_one(files: Files) -> None:
    with structlog.testing.capture_logs() as said:
        async with relay(files, relay_log_sample=0) as running:
            peer = await running.signed_in()
            assert (await peer.submit(b"x")).startswith("250 ")
            running.queue.fault = Unavailable("SQS: away")
            assert (await peer.submit(b"y")).startswith("451 ")
    assert [line["result"] for line in said if line["event"] == "message"] == ["deferred"]


@pytest.mark.parametrize("commands", [b"STARTTLS\r\n", b"NOOP\r\n" * 60])
async def test_a_command_that_came_just_before_the_cut_is_given_up(files: Files, commands: bytes) -> None:
    async with relay(files) as running:
        pipe, protocol = Pipe(), RelaySMTP(running.house, running.server, implicit_tls=False)
        protocol.connection_made(pipe)
        await until(lambda: b"220 " in pipe.written)
        pipe.written.clear()
        protocol.data_received(b"EHLO a.example\r\n" + commands)
        asyncio.get_running_loop().call_soon(protocol.connection_lost, None)
    assert pipe.written.count(b"Ready to start TLS") == 0
    assert pipe.written.count(b"250 2.0.0 OK") == commands.count(b"NOOP") // 60 * 49
    assert b"421 4.3.2 Shutting down, try again ref=" in pipe.written
    assert pipe.closed.is_set()


@pytest.mark.parametrize("end", [b"QUIT\r\n", b"GET / HTTP/1.1\r\n", b"x\r\n" * 20, None])
async def test_a_session_that_has_ended_is_forgotten_without_the_collector_of_garbage(
    files: Files, end: bytes | None
) -> None:
    async with relay(files) as running:
        gc.disable()
        try:
            peer = await running.signed_in()
            assert (await peer.submit(b"Subject: x\r\n\r\nhello")).startswith("250 ")
            session = weakref.ref(running.server.sessions[0])
            if end:
                peer.send(end)
                await peer.rest()
            await peer.close()
            await until(lambda: session() is None)
        finally:
            gc.enable()
