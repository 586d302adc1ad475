"""Every wait has an end, and says which one it was."""

import asyncio
import re
import socket
from typing import Any

import pytest
from typing_extensions import override

from relay.intake.accept import Intake
from relay.intake.arrival import Arrival
from relay.intake.parcel import Parcel, Told
from relay.wire.outbox import Outbox
from relay.wire.protocol import Connection
from relay.wire.timers import Pace, Timer, Timers
from tests.relay.house import Files, Peer, relay, settings, until
from tests.relay.test_fragments import Pipe

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("CORE-SMTP-007")
async def test_a_client_that_does_not_sign_in_is_sent_away_sooner(files: Files) -> None:
    async with relay(files, relay_sign_in_timeout_seconds=0.2, relay_idle_timeout_seconds=5) as running:
        stranger, known = await running.connect(), await running.signed_in()
        await stranger.expect("220")
        await stranger.expect("421 4.4.2 Idle for too long, closing ref=")
        assert await stranger.rest() == b""
        await stranger.close()
        await known.ask("NOOP", "250")


async def test_a_line_octet_by_octet_is_not_waited_for_longer(files: Files) -> None:
    async with relay(files, relay_sign_in_timeout_seconds=0.3) as running:
        peer = await running.connect()
        await peer.expect("220")
        writing = asyncio.ensure_future(trickle(peer, 0.01))
        await peer.expect("421 4.4.2 Idle for too long, closing ref=")
        writing.cancel()
        await peer.close()


async def test_talking_does_not_replace_signing_in(files: Files) -> None:
    async with relay(files, relay_sign_in_timeout_seconds=0.1) as running:
        peer = await running.connect()
        await peer.expect("220")
        began = asyncio.get_running_loop().time()
        heard = ""
        while not heard.startswith("421"):
            peer.send(b"NOOP\r\n")
            heard = await peer.reply()
            await asyncio.sleep(0.01)
        assert heard.startswith("421 4.4.2 Not signed in for too long, closing ref=")
        assert 0.4 < asyncio.get_running_loop().time() - began < 2
        await peer.close()


@pytest.mark.requirement("CORE-SMTP-007")
async def test_silence_within_a_message_has_its_own_limit(files: Files) -> None:
    async with relay(files, relay_data_timeout_seconds=0.2) as running:
        peer = await running.signed_in()
        await peer.envelope()
        peer.send(b"Subject: x\r\n")
        await peer.expect("421 4.4.2 Silence within a message for too long, closing ref=")
        assert await peer.rest() == b""
        assert running.queue.sent == []


async def test_a_message_that_comes_too_slowly_ends_its_session(files: Files) -> None:
    limits: dict[str, Any] = {"relay_min_octets_per_second": 1000, "relay_rate_window_seconds": 0.2}
    async with relay(files, **limits) as running:
        slow, quick = await running.signed_in(), await running.signed_in()
        await slow.envelope()
        await quick.envelope()
        writing = asyncio.ensure_future(trickle(slow, 0.02))
        for _ in range(10):
            quick.send(b"x" * 98 + b"\r\n")
            await asyncio.sleep(0.05)
        quick.send(b".\r\n")
        await quick.expect("250 ")
        await slow.expect("421 4.4.2 The message comes too slowly, closing ref=")
        assert await slow.rest() == b""
        writing.cancel()
        assert len(running.queue.sent) == 1


async def test_without_a_least_rate_any_is_good(files: Files) -> None:
    async with relay(files, relay_min_octets_per_second=0, relay_rate_window_seconds=0.05) as running:
        peer = await running.signed_in()
        await peer.envelope()
        for _ in range(10):
            peer.send(b"x")
            await asyncio.sleep(0.02)
        peer.send(b"\r\n.\r\n")
        await peer.expect("250 ")


async def test_a_handshake_has_its_limit(files: Files) -> None:
    async with relay(files, relay_handshake_timeout_seconds=0.2) as running:
        peer = await running.connect()
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        await peer.ask("STARTTLS", "220")
        peer.send(b"\x16\x03\x01")
        assert await peer.rest() == b""
        await peer.close()
        await until(lambda: running.counted("relay_connections_total", result="tls_failed") == 1)


async def test_a_client_that_does_not_read_is_cut_off(files: Files) -> None:
    async with relay(files, relay_idle_timeout_seconds=0.3) as running:
        sock = socket.create_connection(("127.0.0.1", running.port()))
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_sendall(sock, b"EHLO a.example\r\n")
            pushing = asyncio.ensure_future(push(sock))
            await until(lambda: running.server.tally.sessions == 1 and not running.server.sessions)
            pushing.cancel()
        finally:
            sock.close()


async def push(sock: socket.socket) -> None:
    """Send commands for ever; each answer is longer than its question, and nobody reads them."""
    try:
        while True:
            await asyncio.get_running_loop().sock_sendall(sock, b"HELP\r\n" * 5000)
    except OSError:
        return


async def trickle(peer: Peer, seconds: float) -> None:
    while True:
        peer.send(b"x")
        await asyncio.sleep(seconds)


async def test_a_piece_has_at_most_so_many_octets(files: Files) -> None:
    loop = asyncio.get_running_loop()
    connection = Connection(loop, Timers.of(settings(files)), Outbox(loop))
    connection.connection_made(Pipe())
    connection.data_received(b"abcdef\r\nrest")
    assert await connection.read_piece(4) == b"abcd"
    connection.unread(b"cd")
    assert await connection.read_line() == b"cdef"
    assert await connection.read_piece() == b"rest"


def test_a_pace_is_judged_window_by_window_of_waiting() -> None:
    pace = Pace(100, 60)
    assert [pace.keeps(59, 1), pace.keeps(0, 5999), pace.keeps(1, 0)] == [True, True, True]
    assert [pace.keeps(60, 5999), pace.keeps(60, 6000), pace.keeps(59, 0)] == [False, True, True]
    assert pace.keeps(121, 1000) is False


def test_a_stranger_has_its_time_in_all(files: Files) -> None:
    timers = Timers.of(settings(files))
    assert timers.before_sign_in(0) == Timer(60, "idle", timers.command.reply)
    assert timers.before_sign_in(240) == Timer(60, "idle", timers.command.reply)
    assert timers.before_sign_in(270).seconds == 30
    assert timers.before_sign_in(400).seconds == 0
    assert (timers.header, timers.handshake.seconds, timers.data.seconds) == (10, 30, 180)


class Broken(Intake):
    """Breaks where it should take a message."""

    @override
    def offer(self, arrival: Arrival, told: Told) -> Parcel:
        raise ZeroDivisionError("secret")


async def test_what_an_intake_that_breaks_was_given_is_let_go(files: Files) -> None:
    async with relay(files) as running:
        intake, budget = running.house.intake, running.house.intake.budget
        running.house.intake = Broken(running.queue, running.bodies, budget, 1)
        peer = await running.signed_in()
        reply = await peer.submit(b"Subject: x\r\n")
        assert re.fullmatch(r"451 4\.3\.0 Internal error, try again later ref=[a-z2-7]{16}", reply)
        assert budget.held == 0
        running.house.intake = intake
        assert (await peer.submit(b"Subject: x\r\n")).startswith("250 ")


class Mute(Intake):
    """Takes messages and never says what became of them."""

    @override
    def offer(self, arrival: Arrival, told: Told) -> Parcel:
        return Parcel(arrival, None, told, lambda _: None)


async def test_a_session_does_not_wait_for_ever_for_an_intake_that_broke(files: Files) -> None:
    async with relay(files, relay_accept_timeout_seconds=0.1, relay_idle_timeout_seconds=30) as running:
        running.house.intake = Mute(running.queue, running.bodies, running.house.intake.budget, 0.1)
        peer = await running.signed_in()
        reply = await peer.submit(b"Subject: x\r\n")
        assert reply.startswith("421 4.3.0 Internal error, try again later ref=")
        assert await peer.rest() == b""
