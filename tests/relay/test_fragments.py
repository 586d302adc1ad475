"""However the octets of a session are cut into pieces, it is the same session."""

import asyncio
import itertools
import re
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from mail.errors import Refused
from relay.data import DataReader
from relay.session import RelaySMTP
from tests.relay.house import PLAIN, Files, Running, content_of, relay

pytestmark = pytest.mark.anyio

SESSION = (
    b"EHLO client.example\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN " + PLAIN.encode() + b"\r\n"
    b"MAIL FROM:<me@example.com> SIZE=10\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<>\r\nDATA\r\n"
    b"Subject: one\r\n\r\n..\r\n.. dots\r\n...\r\nnext\r\n..\r\n.\r\n"
    b"NOOP\nNOOP\r\nNOOP " + b"x" * 2100 + b"\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nbare\nfeed\n.\nMAIL\r\n\r\n.\r\n"
    b"MAIL FROM:<me@example.com>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n.\r\nRSET\r\nQUIT\r\n"
)


class Pipe(asyncio.Transport):
    """A transport that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 4321)})
        self.written = bytearray()
        self.closed = asyncio.Event()

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def write_eof(self) -> None:
        self.closed.set()

    abort = close = write_eof

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Client:
    """TLS from memory: each piece of plain text becomes a record of its own."""

    def __init__(self, trust: ssl.SSLContext, protocol: RelaySMTP, pipe: Pipe) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trust.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.protocol, self.pipe = protocol, pipe

    def exchange(self) -> None:
        if data := self.outgoing.read():
            self.protocol.data_received(data)
        self.incoming.write(bytes(self.pipe.written))
        self.pipe.written.clear()

    def shake_hands(self) -> None:
        for _ in range(4):
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.exchange()
        self.exchange()

    def heard(self) -> bytes:
        self.exchange()
        said = b""
        try:
            while piece := self.tls.read(65_536):
                said += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return said


async def play(running: Running, pieces: list[bytes]) -> tuple[str, list[bytes]]:
    """Play a session piece by piece; what was heard and what was queued."""
    running.queue.sent.clear()
    pipe, protocol = Pipe(), RelaySMTP(running.house, running.server, implicit_tls=True)
    protocol.connection_made(pipe)
    client = Client(running.trust, protocol, pipe)
    client.shake_hands()
    for piece in pieces:
        client.tls.write(piece)
        client.exchange()
        await asyncio.sleep(0)
    await asyncio.wait_for(pipe.closed.wait(), 10)
    protocol.connection_lost(None)
    heard = re.sub(r"queued as \S+", "queued as *", client.heard().decode())
    return heard, [content_of(job) for job in running.queue.jobs]


@st.composite
def cuts(draw: st.DrawFn) -> list[bytes]:
    places = sorted(draw(st.sets(st.integers(1, len(SESSION) - 1), max_size=60)))
    edges = [0, *places, len(SESSION)]
    return [SESSION[start:end] for start, end in itertools.pairwise(edges)]


@profile(max_examples=25, deadline=None)
@given(pieces=cuts())
async def test_any_pieces_make_the_same_session(files: Files, pieces: list[bytes]) -> None:
    async with relay(files) as running:
        whole = await play(running, [SESSION])
        assert whole[1] == [b"Subject: one\r\n\r\n.\r\n. dots\r\n..\r\nnext\r\n.\r\n", b""]
        assert await play(running, pieces) == whole


async def test_octet_by_octet(files: Files) -> None:
    async with relay(files) as running:
        whole = await play(running, [SESSION])
        assert await play(running, [SESSION[n : n + 1] for n in range(len(SESSION))]) == whole
        assert whole[0].count("queued as") == 2


LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x.", b"x", b" ", b"\xff"]), max_size=12)


@given(lines=LINES, cut=st.integers(1, 20))
def test_dots_are_put_back_whatever_the_pieces(lines: list[bytes], cut: int) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\nREST"
    reader, rest = DataReader(1000), None
    for start in range(0, len(wire), cut):
        piece = wire[start : start + cut]
        rest = reader.feed(piece) if rest is None else rest + piece
    assert rest == b"REST"
    assert reader.message() == content


@given(st.binary(max_size=40), st.integers(0, 40))
def test_no_octets_break_the_end_of_data(content: bytes, limit: int) -> None:
    whole, single = DataReader(limit), DataReader(limit)
    wire = content + b"\r\n.\r\n"
    rest = whole.feed(wire)
    assert rest is not None
    end = len(wire) - len(rest)
    answers = [single.feed(wire[n : n + 1]) for n in range(end)]
    assert answers == [None] * (end - 1) + [b""]
    assert outcome(whole) == outcome(single)


def outcome(reader: DataReader) -> bytes | str:
    try:
        return reader.message()
    except Refused as refusal:
        return str(refusal)
