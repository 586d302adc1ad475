"""What no dialogue can say: handshakes that go wrong, sessions that are cut off, and the relay's patience."""

import asyncio
import re
import ssl
import struct

import pytest

from tests.relay.conformance.player import PROOF, Wire, wire
from tests.relay.conformance.script import MODES, Mode, expectation, octets
from tests.relay.house import Running, until

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("mode", MODES)]
ALERT, HANDSHAKE = 0x15, 0x16
WRONG_SECRET = octets("AUTH PLAIN {b64:\\0app\\0wrong}\\r\\n")
WRONG_NAME = octets("AUTH PLAIN {b64:\\0nobody\\0correct horse}\\r\\n")


async def prove(running: Running, mode: Mode) -> None:
    """The relay is as well as before."""
    async with wire(running, mode) as line:
        await line.reach("auth")
        await line.prove()


async def until_the_handshake(running: Running, mode: Mode) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which the client's handshake is due."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=mode == "implicit"))
    if mode == "starttls":
        line = Wire(running, reader, writer, mode)
        await line.reach("hello")
        await line.ask(b"STARTTLS\r\n", "220")
    return reader, writer


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.read()


def client_hello(version: tuple[int, int]) -> bytes:
    """The first flight of a client that knows nothing newer than `version`, the pair on the wire."""
    suites = struct.pack("!6H", 0xC009, 0xC00A, 0xC013, 0xC014, 0x002F, 0x0035)
    body = bytes(version) + bytes(32) + b"\0" + struct.pack("!H", len(suites)) + suites + b"\1\0"
    message = b"\1" + len(body).to_bytes(3, "big") + body
    return bytes((HANDSHAKE, 3, min(version[1], 1))) + struct.pack("!H", len(message)) + message


def modern_client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


@pytest.mark.requirement("TLS-001")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: str(v.name))
async def test_modern_tls_is_spoken_without_compression(running: Running, mode: Mode, version: ssl.TLSVersion) -> None:
    reader, writer = await until_the_handshake(running, mode)
    running.trust.minimum_version = running.trust.maximum_version = version
    try:
        await writer.start_tls(running.trust, server_hostname="localhost")
    finally:
        running.trust.minimum_version, running.trust.maximum_version = (
            ssl.TLSVersion.TLSv1_2,
            ssl.TLSVersion.MAXIMUM_SUPPORTED,
        )
    tunnel = writer.get_extra_info("ssl_object")
    assert (tunnel.version(), tunnel.compression()) == (version.name.replace("_", "."), None)
    line = Wire(running, reader, writer, "implicit")
    if mode == "implicit":
        await line.expect(expectation("220 -"))
    await line.ask(b"EHLO client.example\r\n", "250 -")
    await line.prove()
    writer.transport.abort()


@pytest.mark.requirement("TLS-011")
@pytest.mark.parametrize("minor", [0, 1, 2], ids=["SSL 3.0", "TLS 1.0", "TLS 1.1"])
async def test_old_tls_is_refused(running: Running, mode: Mode, minor: int) -> None:
    reader, writer = await until_the_handshake(running, mode)
    writer.write(client_hello((3, minor)))
    heard = await answer(reader)
    assert heard[:1] == bytes((ALERT,)), heard
    assert heard[5] == 2, "RFC 8446 6.2: it is fatal"
    writer.close()
    await prove(running, mode)


@pytest.mark.parametrize(
    "text", [b"EHLO client.example\r\nMAIL FROM:<me@example.com>\r\n", b"\r\n" * 100, b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_text_where_the_handshake_is_due_is_never_answered_in_the_clear(
    running: Running, mode: Mode, text: bytes
) -> None:
    reader, writer = await until_the_handshake(running, mode)
    writer.write(text)
    heard = await answer(reader)
    assert heard == b"" or heard[0] == ALERT, heard
    writer.close()
    await prove(running, mode)


async def test_half_a_handshake_harms_nobody(running: Running, mode: Mode) -> None:
    reader, writer = await until_the_handshake(running, mode)
    writer.write(modern_client_hello()[:40])
    writer.write_eof()
    heard = await answer(reader)
    assert heard == b"" or heard[0] == ALERT, heard
    writer.close()
    await prove(running, mode)


async def test_a_handshake_where_commands_are_due_is_not_echoed(running: Running, mode: Mode) -> None:
    async with wire(running, mode) as line:
        await line.reach("hello")
        await line.send(modern_client_hello() + b"\r\n")
        reply = await line.reply()
        while reply.code != "421" and await more(line):
            reply = await line.reply()
        assert reply.code[0] in "45"
    await prove(running, mode)


async def more(line: Wire) -> bool:
    """Whether the relay still answers: the octets of a handshake may hold any number of line ends."""
    await line.send(b"QUIT\r\n")
    return (await line.reply()).code != "221"


async def test_too_many_errors_end_the_session(running: Running, mode: Mode) -> None:
    async with wire(running, mode) as line:
        await line.reach("hello")
        codes: list[str] = []
        while not codes or codes[-1] == "500":
            assert len(codes) < 50, "no end to the relay's patience"
            codes.append((await line.ask(b"XYZZY\r\n", "500|421")).code)
        assert codes[-1] == "421"
        assert 10 <= codes.count("500") <= 20
        await line.ended()
    await prove(running, mode)


async def test_too_many_failed_sign_ins_end_the_session(running: Running, mode: Mode) -> None:
    async with wire(running, mode) as line:
        await line.reach("secure")
        codes: list[str] = []
        while not codes or codes[-1] == "535":
            assert len(codes) < 10, "no end to the relay's patience"
            codes.append((await line.ask(WRONG_SECRET, "535|421")).code)
        assert codes[-1] == "421"
        assert codes.count("535") >= 2
        await line.ended()
    await prove(running, mode)


async def test_nobody_learns_which_names_exist(running: Running, mode: Mode) -> None:
    async with wire(running, mode) as line:
        await line.reach("secure")
        texts = [(await line.ask(attempt, "535 5.7.8")).texts for attempt in (WRONG_NAME, WRONG_SECRET)]
        assert len({re.sub(r"ref=\S+", "", str(text)) for text in texts}) == 1


@pytest.mark.parametrize(
    ("state", "sent"),
    [
        ("rcpt", b"DAT"),
        ("data", b""),
        ("data", b"Subject: half\r\n\r\nHel"),
        ("data", b"Hello\r\n."),
        ("data", b"Hello\r\n.\r"),
        ("rcpt", b"BDAT 10 LAST\r\nHello"),
        ("rcpt", b"BDAT 5\r\nHello"),
        ("rcpt", b"BDAT 5 LAST\r\nHell"),
    ],
)
async def test_a_message_that_is_cut_off_is_not_queued(running: Running, mode: Mode, state: str, sent: bytes) -> None:
    before = len(running.queue.sent)
    async with wire(running, mode) as line:
        await line.reach(state)
        if sent:
            await line.send(sent)
    await prove(running, mode)
    assert [job.mail_from for job in running.queue.jobs[before:]] == ["proof@example.com"]


@pytest.mark.parametrize(
    "end", [b"DATA\r\n" + PROOF + b".\r\n", b"BDAT %d LAST\r\n%b" % (len(PROOF), PROOF)], ids=["DATA", "BDAT"]
)
async def test_a_message_that_is_whole_is_queued_once_though_the_client_is_gone(
    running: Running, mode: Mode, end: bytes
) -> None:
    before = len(running.queue.sent)
    async with wire(running, mode) as line:
        await line.reach("rcpt")
        await line.send(end)
        await line.close()
    await until(lambda: len(running.queue.sent) > before)
    await prove(running, mode)
    assert [job.mail_from for job in running.queue.jobs[before:]] == ["me@example.com", "proof@example.com"]
