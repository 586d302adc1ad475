"""Messages in chunks (RFC 3030): every order, and every refusal in step."""

import asyncio
from dataclasses import replace

import pytest

from mail.errors import Unavailable
from tests.relay.house import ACCOUNT, CREDENTIAL, PLAIN, USER, Files, Peer, Running, content_of, relay, until

pytestmark = pytest.mark.anyio

FULL = "452 4.3.1 Too much mail on its way, try again later ref="


def chunk(content: bytes, end: str = "") -> bytes:
    return f"BDAT {len(content)}{end}\r\n".encode() + content


def last(content: bytes) -> bytes:
    return chunk(content, " LAST")


async def begin(peer: Peer) -> None:
    await peer.ask("MAIL FROM:<me@example.com>", "250 2.1.0")
    await peer.ask("RCPT TO:<you@example.net>", "250 2.1.5")


async def in_step(peer: Peer) -> None:
    """The next octets are taken for commands, and a message goes through."""
    peer.send(b"RSET\r\nNOOP\r\n")
    await peer.expect("250 2.0.0 OK")
    await peer.expect("250 2.0.0 OK")
    await begin(peer)
    peer.send(last(b"next\r\n"))
    await peer.expect("250 2.0.0 queued as ")


def contents(running: Running) -> list[bytes]:
    return [content_of(job) for job in running.queue.jobs]


async def test_a_message_comes_in_chunks(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"Message-ID: <1@a>\r"))
        await peer.expect("250 2.0.0 18 octets received")
        peer.send(chunk(b"\n\r\n.\r\n..\r\n"))
        await peer.expect("250 2.0.0 10 octets received")
        await peer.ask("NOOP", "250")
        peer.send(b"BDAT 0 last\r\n")
        reply = await peer.expect("250 2.0.0 queued as ")
        (job,) = running.queue.jobs
        assert (str(job.id), job.header_message_id) == (reply[len("250 2.0.0 queued as ") :], "<1@a>")
        assert contents(running) == [b"Message-ID: <1@a>\r\n\r\n.\r\n..\r\n"]


@pytest.mark.parametrize(
    ("content", "stored"),
    [(b"", b""), (b"x", b"x\r\n"), (b"\r\n.\r\n", b"\r\n.\r\n"), (b".", b".\r\n"), (b".\r\n", b".\r\n")],
)
async def test_a_single_chunk_is_a_message_completed_by_a_line_end(files: Files, content: bytes, stored: bytes) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(last(content))
        await peer.expect("250 2.0.0 queued as ")
        assert contents(running) == [stored]


async def test_chunks_are_pipelined_with_all_around_them(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        envelope = b"MAIL FROM:<me@example.com>\r\nRCPT TO:<you@example.net>\r\n"
        peer.send((envelope + chunk(b"one\r\n") + chunk(b"MAIL\r\n") + last(b"QUIT\r\n")) * 3 + b"QUIT\r\n")
        heard = (await peer.rest()).decode().splitlines()
        assert [line[:9] for line in heard] == ["250 2.1.0", "250 2.1.5", *["250 2.0.0"] * 3] * 3 + ["221 2.0.0"]
        assert contents(running) == [b"one\r\nMAIL\r\nQUIT\r\n"] * 3


async def test_between_chunks_only_chunks_go_on(files: Files) -> None:
    begun = "503 5.5.1 The message has begun: BDAT goes on, RSET ends it"
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"one\r\n"))
        await peer.expect("250 2.0.0 5 octets")
        await peer.ask("DATA", begun)
        await peer.ask("RCPT TO:<she@example.net>", begun)
        await peer.ask("MAIL FROM:<me@example.com>", "503 5.5.1 A transaction is open; RSET ends it")
        peer.send(last(b"two\r\n"))
        await peer.expect("250 2.0.0 queued as ")
        assert contents(running) == [b"one\r\ntwo\r\n"]
        assert [len(job.recipients) for job in running.queue.jobs] == [1]


@pytest.mark.parametrize("ender", ["RSET", "EHLO client.example"])
async def test_a_message_that_is_abandoned_leaves_nothing(files: Files, ender: str) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"x" * 800_000))
        await peer.expect("250 2.0.0 800000 octets")
        assert running.counted("relay_bytes_in_flight") > 800_000
        await peer.ask(ender, "250")
        await until(lambda: running.bodies.aborted == 1)
        assert running.counted("relay_bytes_in_flight") == 0
        peer.send(last(b"the rest\r\n"))
        await peer.expect("503 5.5.1 Send MAIL first")
        await in_step(peer)
        assert contents(running) == [b"next\r\n"]


async def test_a_peer_lost_between_chunks_leaves_nothing(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"x" * 800_000))
        await peer.expect("250 2.0.0 800000 octets")
        peer.writer.transport.abort()
        await until(lambda: running.bodies.aborted == 1)
        assert running.counted("relay_bytes_in_flight") == 0


HOSTILE = b"\r\nRSET\r\nMAIL FROM:<me@example.com>\r\nRCPT TO:<victim@example.net>\r\nBDAT 0 LAST\r\nQUIT\r\n"


async def test_a_refused_chunk_is_taken_all_the_same(files: Files) -> None:
    async with relay(files) as running:
        stranger = await running.connect()
        await stranger.expect("220")
        for greeting, reply in ((b"", "503 5.5.1 Send EHLO"), (b"EHLO a.example\r\n", "530 5.7.0 Must issue STARTTLS")):
            stranger.send(greeting + last(HOSTILE))
            if greeting:
                await stranger.expect("250-relay.test")
            await stranger.expect(reply)
        await stranger.start_tls()
        await stranger.ask("EHLO a.example", "250")
        stranger.send(last(HOSTILE))
        await stranger.expect("530 5.7.0 Authentication required")
        await stranger.ask(f"AUTH PLAIN {PLAIN}", "235")
        stranger.send(last(HOSTILE))
        await stranger.expect("503 5.5.1 Send MAIL first")
        await stranger.ask("MAIL FROM:<me@example.com>", "250")
        await stranger.ask("RCPT TO:<>", "501")
        stranger.send(chunk(HOSTILE) + last(HOSTILE))
        await stranger.expect("503 5.5.1 No valid recipients")
        await stranger.expect("503 5.5.1 Send MAIL first")
        await in_step(stranger)
        assert contents(running) == [b"next\r\n"]


@pytest.mark.parametrize("content", [b"a\nb", b"a\rb", b"a\0b", b"\n.\n", b"\r.\r" + HOSTILE, b"\r\n.\n" + HOSTILE])
async def test_a_fault_ends_the_message_at_its_chunk(files: Files, content: bytes) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"fine\r\n") + chunk(content) + chunk(HOSTILE) + last(HOSTILE))
        await peer.expect("250 2.0.0 6 octets")
        await peer.expect("550 5.6.0 Message has a ")
        await peer.expect("503 5.5.1 Send MAIL first")
        await peer.expect("503 5.5.1 Send MAIL first")
        await in_step(peer)
        assert contents(running) == [b"next\r\n"]


async def test_line_ends_are_those_of_the_message_not_of_the_chunks(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"a\r") + chunk(b"") + chunk(b"\nb\r") + last(b"c\r\n"))
        for reply in ("250", "250", "250", "550 5.6.0 Message has a bare CR"):
            await peer.expect(reply)
        await begin(peer)
        peer.send(chunk(b"a\r\n\r") + last(b""))
        for reply in ("250", "550 5.6.0 Message has a bare CR"):
            await peer.expect(reply)
        await in_step(peer)
        assert contents(running) == [b"next\r\n"]


async def test_the_option_repairs_chunks_too(files: Files) -> None:
    async with relay(files) as running:
        running.accounts.credentials[USER] = replace(CREDENTIAL, account=replace(ACCOUNT, repair_line_ends=True))
        peer = await running.signed_in()
        await begin(peer)
        peer.send(chunk(b"a\r") + chunk(b"\nb\r") + chunk(b"c\n.\n\0d\r") + last(b""))
        for _ in range(3):
            await peer.expect("250 2.0.0 ")
        await peer.expect("250 2.0.0 queued as ")
        assert contents(running) == [b"a\r\nb\r\nc\r\n.\r\nd\r\n"]


async def test_too_large_a_message_is_refused_in_step(files: Files) -> None:
    too_large = "552 5.3.4 Message too large; the limit is 65536 octets"
    line = b"x" * 62 + b"\r\n"
    async with relay(files, relay_max_message_bytes=65_536) as running:
        peer = await running.signed_in()
        for chunks in ([line * 1024 + b"x"], [line * 1000, line * 25, line], [b"x" * 131_072]):
            await begin(peer)
            peer.send(b"".join(map(chunk, chunks)))
            replies = [await peer.reply() for _ in chunks]
            assert too_large in replies
            assert not any(reply.startswith("250 2.0.0 queued") for reply in replies)
            await in_step(peer)
        await begin(peer)
        peer.send(chunk(line * 1000) + last(line * 24))
        await peer.expect("250 2.0.0 64000 octets")
        await peer.expect("250 2.0.0 queued as ")
        assert contents(running)[-1] == line * 1024

        await begin(peer)
        peer.send(b"BDAT 131073\r\n" + HOSTILE)
        await peer.expect(too_large)
        assert await peer.rest() == b""
        assert [len(content) for content in contents(running)] == [6, 6, 6, 65_536]


@pytest.mark.parametrize(
    "line",
    [
        b"BDAT",
        b"BDAT ",
        b"BDAT LAST",
        b"BDAT -1",
        b"BDAT 0x5",
        b"BDAT 5 FIRST",
        b"BDAT 5 LAST LAST",
        b"BDAT 5LAST",
        b"BDAT +5",
        b"BDAT 1e3",
        b"BDAT 5\0",
        b"BDAT\t5",
        b"bdat 5 \x00LAST",
        b"BDAT \xff",
        "BDAT \u0665".encode(),
        b"BDAT " + b"9" * 20,
        b"BDAT " + b"9" * 21,
        b"BDAT " + b"0" * 3000 + b"5",
    ],
)
async def test_a_chunk_of_no_known_size_ends_the_session(files: Files, line: bytes) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        peer.send(line + b"\r\n" + HOSTILE)
        assert (await peer.reply())[:3] in {"500", "501", "552"}
        assert await peer.rest() == b""
        assert running.queue.sent == []


async def test_a_full_relay_refuses_the_first_chunk_and_all_that_follow(files: Files) -> None:
    async with relay(files, relay_max_bytes_in_flight=16_777_216) as running:
        hog, peer = await running.signed_in(), await running.signed_in()
        await begin(hog)
        await begin(peer)
        for _ in range(17):
            hog.send(chunk(b"x" * 999_998 + b"\r\n"))
            await hog.expect("250 2.0.0 1000000 octets")
        peer.send(chunk(HOSTILE))
        await peer.expect(FULL)
        assert running.counted("relay_shed_total", reason="bytes_in_flight") == 1
        hog.send(last(b""))
        await hog.expect("250 2.0.0 queued as ")
        peer.send(last(HOSTILE))
        await peer.expect("503 5.5.1 Send MAIL first")
        await in_step(peer)
        assert len(running.queue.sent) == 2


async def test_a_bucket_in_trouble_defers_the_message_at_its_chunk(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await begin(peer)
        running.bodies.fault = Unavailable("S3 UploadPart: SlowDown")
        peer.send(chunk(b"x" * 600_000) + chunk(b"x" * 600_000) + last(HOSTILE))
        await peer.expect("250 2.0.0 600000 octets")
        await peer.expect("451 4.3.0 ")
        await peer.expect("503 5.5.1 Send MAIL first")
        assert running.bodies.aborted == 1
        await in_step(peer)
        assert running.counted("relay_messages_total", result="deferred") == 1
        assert running.counted("relay_bytes_in_flight") == 0


async def test_the_last_chunk_is_answered_when_the_queue_has_the_message(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        running.queue.answers.clear()
        await begin(peer)
        peer.send(last(b"x\r\n"))
        await running.queue.asked.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.reader.readline(), 0.05)
        running.queue.answers.set()
        await peer.expect("250 2.0.0 queued as ")
