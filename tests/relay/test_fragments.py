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

from relay.intake.data import DataReader
from relay.smtp.session import RelaySMTP
from tests.relay.house import PLAIN, Files, Running, content_of, relay

pytestmark = pytest.mark.anyio

SESSION = (
    b"EHLO client.example\r\nAUTH LOGIN\r\n*\r\nAUTH PLAIN " + PLAIN.encode() + b"\r\n"
    b"MAIL FROM:<me@example.com> SIZE=10\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<>\r\nDATA\r\n"
    b"Subject: one\r\n\r\n..\r\n.. dots\r\n...\r\nnext\r\n..\r\n.\r\n"
    b"NOOP\nNOOP\r\nNOOP " + b"x" * 2100 + b"\r\n" + b"NOOP\r\n" * 60 + b"x" * 13_000 + b"\r\nVRFY\r\n"
    b"MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\nbare\nfeed\n.\nMAIL\r\n\r\n.\r\n"
    b"MAIL FROM:<me@example.com>\r\nRCPT TO:<c@example.net>\r\nDATA\r\n.\r\n"
    b"BDAT 12 LAST\r\nQUIT\r\nRSET\r\n"
    b"MAIL FROM:<me@example.com>\r\nRCPT TO:<d@example.net>\r\nBDAT 9\r\n\r\n.\r\nRSE\rDATA\r\nBDAT 4\r\n\nT\r\n"
    b"BDAT 0 LAST\r\nMAIL FROM:<me@example.com>\r\nRCPT TO:<e@example.net>\r\n"
    b"BDAT 3\r\na\nbBDAT 8 LAST\r\nQUIT\r\n.\nRSET\r\nQUIT\r\n"
)
WHOLE = [b"Subject: one\r\n\r\n.\r\n. dots\r\n..\r\nnext\r\n.\r\n", b"", b"\r\n.\r\nRSE\r\nT\r\n"]


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
        assert whole[1] == WHOLE
        assert await play(running, pieces) == whole


async def test_octet_by_octet(files: Files) -> None:
    async with relay(files) as running:
        whole = await play(running, [SESSION])
        assert await play(running, [SESSION[n : n + 1] for n in range(len(SESSION))]) == whole
        assert whole[0].count("queued as") == 3


LINES = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x.", b"x", b" ", b"\xff"]), max_size=12)


@given(lines=LINES, cut=st.integers(1, 20))
def test_dots_are_put_back_whatever_the_pieces(lines: list[bytes], cut: int) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    wire = b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines) + b".\r\nREST"
    assert read([wire[start : start + cut] for start in range(0, len(wire), cut)]) == (content, b"REST")


NEARLY = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"\0", b"x", b"\r\n.\r"]), max_size=20).map(b"".join)


@given(NEARLY | st.binary(max_size=40), st.integers(1, 7))
def test_no_octets_break_the_end_of_data(content: bytes, cut: int) -> None:
    wire = content + b"\r\n.\r\n"
    message, rest = read([wire])
    end = len(wire) - len(rest)
    assert read([wire[n : n + 1] for n in range(len(wire))]) == (message, rest)
    assert read([wire[start : start + cut] for start in range(0, len(wire), cut)]) == (message, rest)
    # The same, told plainly: what stands before the first CRLF.CRLF, each line without its first dot.
    lines = (b"\r\n" + wire).partition(b"\r\n.\r\n")[0].split(b"\r\n")[1:]
    assert message == b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    assert wire[:end] == b"".join(line + b"\r\n" for line in lines) + b".\r\n"


def read(pieces: list[bytes]) -> tuple[bytes, bytes]:
    """The message, and what follows it."""
    reader, message = DataReader(), b""
    for n, piece in enumerate(pieces, 1):
        message += reader.feed(piece)
        if reader.rest is not None:
            return message, reader.rest + b"".join(pieces[n:])
    raise AssertionError("no end")


@st.composite
def chunks(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A content, and the same in pieces."""
    content = draw(st.lists(st.sampled_from([b"\r\n", b".", b"x", b"\xff", b"\r\n.\r\n"]), max_size=12).map(b"".join))
    places = sorted(draw(st.sets(st.integers(0, len(content)), max_size=6)))
    return content, [content[start:end] for start, end in itertools.pairwise([0, *places, len(content)])]


ENVELOPE = b"MAIL FROM:<me@example.com>\r\nRCPT TO:<a@example.net>\r\n"


@profile(max_examples=25, deadline=None)
@given(chunks=chunks(), cut=st.integers(1, 50))
async def test_data_and_bdat_make_the_same_message(files: Files, chunks: tuple[bytes, list[bytes]], cut: int) -> None:
    content, pieces = chunks
    wire = content if content.endswith(b"\r\n") or not content else content + b"\r\n"
    stuffed = re.sub(rb"(?m)^\.", b"..", wire)
    bdat = b"".join(f"BDAT {len(piece)}\r\n".encode() + piece for piece in pieces)
    start = SESSION[: SESSION.index(b"MAIL FROM")]
    session = start + ENVELOPE + b"DATA\r\n" + stuffed + b".\r\n" + ENVELOPE + bdat + b"BDAT 0 LAST\r\nQUIT\r\n"
    async with relay(files) as running:
        _, contents = await play(running, [session[n : n + cut] for n in range(0, len(session), cut)])
        assert contents == [wire, wire]
