import asyncio
from pathlib import Path

import pytest

from client.explain import AUTH, CONNECTING, DATA, HANDSHAKE, Server, explain
from tests.client.postbox import Conversation, Postbox, conversation, inside, to

PLAIN = ("--tls", "none")
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def silence(reader: Reader, writer: Writer) -> None:
    del writer
    await reader.read()


async def busy(reader: Reader, writer: Writer) -> None:
    writer.write(b"421 4.3.2 Too many connections\r\n")
    await writer.drain()
    await reader.read()


async def web(reader: Reader, writer: Writer) -> None:
    del reader
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def old(reader: Reader, writer: Writer) -> None:
    """A server without a single extension; it repeats what it got."""
    writer.write(b"220 old\r\n")
    while line := await reader.readline():
        if line.startswith(b"DATA"):
            writer.write(b"354 go on\r\n")
            content = await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 got " + content.split(b"\r\n")[-3] + b"\r\n")
        else:
            writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 old\r\n")


async def vanishing(reader: Reader, writer: Writer) -> None:
    writer.write(b"220 here\r\n")
    for reply in (b"250 here\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
        await reader.readline()
        writer.write(reply)
    await reader.readuntil(b"\r\n.\r\n")


def test_a_refused_connection_says_what_to_check() -> None:
    with conversation(silence) as port:
        pass
    done = inside("send", *to(port))
    assert done.code == 3
    assert f"connection refused by localhost:{port}" in done.err
    assert "What to do: check that the server runs" in done.err


def test_an_unknown_host_is_told() -> None:
    done = inside("send", "--host", "no such host", "--from", "a@example.com", "--to", "b@example.com")
    assert done.code == 3
    assert "cannot find the host 'no such host'" in done.err


def test_a_silent_server_times_out_in_a_named_phase() -> None:
    with conversation(silence) as port:
        greeting = inside("send", *to(port, "--timeout", "0.3"))
        handshake = inside("send", *to(port, "--timeout", "0.3", "--tls", "implicit"))
    assert (greeting.code, handshake.code) == (3, 3)
    assert "waiting for the greeting took longer than 0.3 s" in greeting.err
    assert "use --tls implicit" in greeting.err
    assert "TLS handshake took longer than 0.3 s" in handshake.err


def test_a_timeout_after_the_message_leaves_a_doubt(plain: Postbox) -> None:
    done = inside("send", *to(plain.port, *PLAIN, "--timeout", "0.3", "--header", "X-Hang: yes"))
    assert done.code == 3
    assert "DATA took longer than 0.3 s; whether the message was accepted is unknown" in done.err


@pytest.mark.parametrize(
    ("talk", "code", "told"),
    [
        (busy, 3, "refused the session (waiting for the greeting): 421 4.3.2 Too many connections"),
        (web, 3, "does not speak SMTP"),
        (vanishing, 3, "closed the connection (DATA); whether the message was accepted is unknown"),
    ],
)
def test_odd_servers_are_told_apart(talk: Conversation, code: int, told: str) -> None:
    with conversation(talk) as port:
        done = inside("send", *to(port, *PLAIN))
    assert done.code == code, done.err
    assert told in done.err


def test_what_an_old_server_cannot_carry_is_made_plain_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "eight-bit.eml"
    file.write_bytes("Subject: x\n\nFüße".encode())
    with conversation(old) as port:
        encoded = inside("send", *to(port, *PLAIN, "--text", "Füße"))
        international = inside("send", *to(port, *PLAIN, "--to", "jürgen@example.org"))
        raw = inside("send", *to(port, *PLAIN, "--eml", str(file)))
    assert encoded.code == 0, encoded.err
    assert "250 got F=C3=BC=C3=9Fe" in encoded.out
    assert (international.code, raw.code) == (1, 1)
    assert "does not offer SMTPUTF8" in international.err
    assert "does not offer 8BITMIME" in raw.err


def test_causes_are_explained_by_the_most_specific_one() -> None:
    server = Server("mx", 25, "starttls", "mx")
    assert "certificate" not in str(explain(ConnectionResetError("reset"), HANDSHAKE, server))
    assert explain(ConnectionResetError("reset"), HANDSHAKE, server).exit_code == 4
    assert explain(ConnectionResetError("reset"), AUTH, server).exit_code == 3
    assert "firewall" in str(explain(TimeoutError(), CONNECTING, server))
    assert "unknown" in str(explain(TimeoutError(), DATA, server))
    assert str(Server("::1", 25, "none", "::1")) == "[::1]:25"
