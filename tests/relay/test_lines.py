"""What a connection has read and not yet used, however it came; and whose replies go out when."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.smtp.commands import parse_command
from relay.wire.lines import MAX_LINE, Lines, LineTooLong
from relay.wire.outbox import Outbox
from tests.relay.house import PLAIN, Files, relay, until
from tests.relay.test_fragments import Pipe

pytestmark = pytest.mark.anyio

TEXTS = st.lists(st.sampled_from([b"NOOP", b"\r\n", b"\r", b"\n", b"", b"x" * 700, b"y" * MAX_LINE]), max_size=30)


def lines() -> Lines:
    return Lines(Outbox(asyncio.get_running_loop()))


def taken(of: Lines) -> list[bytes | None]:
    """All lines that have come; None stands for one that was too long."""
    found: list[bytes | None] = []
    while True:
        try:
            line = of.take_line()
        except LineTooLong:
            found.append(None)
            continue
        if line is None:
            return found
        found.append(line)


@given(TEXTS, st.data())
async def test_lines_are_the_same_however_they_come(texts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    of, found = lines(), []
    for start, end in pairwise([0, *cuts, len(stream)]):
        of.put(stream[start:end])
        found += taken(of)
    whole, _, rest = stream.rpartition(b"\r\n")
    expected = [line if len(line) <= MAX_LINE else None for line in whole.split(b"\r\n")] if b"\r\n" in stream else []
    assert found == expected
    assert of.take_input() == (rest if len(rest) <= MAX_LINE else rest[-1:])
    assert not of.unread_input


async def test_what_was_read_too_much_can_be_put_back_amid_the_rest() -> None:
    of = lines()
    of.put(b"MAIL\r\n0123456789")
    assert of.take_line() == b"MAIL"
    assert of.take_input(4) == b"0123"
    of.unread(b"RSET\r\n")
    assert [of.take_line(), of.take_line()] == [b"RSET", None]
    of.put(b"\r\n")
    assert [of.take_line(), of.take_input(), of.unread_input] == [b"456789", b"", False]


async def test_lines_that_fill_the_buffer_leave_room_for_the_end_of_the_last_one(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.connect()
        await peer.expect("220")
        noops = 40_000
        peer.send(b"EHLO a.example\r\n" + b"NOOP\r\n" * noops + b"NO")
        await peer.expect("250-relay.test")
        for _ in range(noops):
            await peer.expect("250 2.0.0")
        peer.send(b"OP\r\n")
        await peer.expect("250 2.0.0")


async def test_replies_of_one_turn_go_out_in_a_row() -> None:
    loop = asyncio.get_running_loop()
    outbox = Outbox(loop)
    first, second = Lines(outbox), Lines(outbox)
    first.transport, second.transport = Pipe(), Pipe()
    for each in (first, second, first):
        each.tell(b"250 OK")
        each.flush_soon()
    assert [first.transport.written, second.transport.written] == [b"", b""]
    await asyncio.sleep(0)
    assert [first.transport.written, second.transport.written] == [b"250 OK\r\n250 OK\r\n", b"250 OK\r\n"]


@given(st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=40))
def test_a_usual_command_is_split_like_any_other(text: str) -> None:
    """A letter that is not ASCII takes a line the longer way through the parser."""
    line = text.encode()

    def split(octets: bytes) -> object:
        try:
            return parse_command(octets)
        except Exception as refusal:  # noqa: BLE001 - which one it is, is compared
            return type(refusal), str(refusal)

    usual, unusual = split(line), split(line + " \u00fc".encode())
    if isinstance(usual, tuple) and isinstance(usual[0], str):
        verb, argument = usual
        assert unusual == (verb, f"{argument} \u00fc".strip() if " " in text else "\u00fc")
    else:
        assert unusual == usual


@pytest.mark.parametrize("way", ["DATA", "BDAT"])
async def test_a_relay_that_breaks_amid_a_message_takes_none_of_it_for_commands(files: Files, way: str) -> None:
    async with relay(files) as running:
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        await peer.ask(f"AUTH PLAIN {PLAIN}", "235")
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        await peer.ask("RCPT TO:<you@example.net>", "250")
        if way == "DATA":
            await peer.ask("DATA", "354")
        else:
            peer.send(b"BDAT 100\r\n")
            await until(lambda: any(session.envelope.arrival for session in running.server.sessions))
        (session,) = running.server.sessions
        assert session.envelope.arrival
        # A fault of our own, wherever it may come from.
        del session.envelope.arrival.content._line_ends  # noqa: SLF001
        peer.send(b"Subject: x\r\n")
        peer.send(b"MAIL FROM:<me@example.com>\r\n" * 3)
        reply = await peer.reply()
        assert reply.startswith("421 4.3.0 Internal error, try again later ref="), reply
        assert await peer.rest() == b""
        assert running.queue.sent == []
