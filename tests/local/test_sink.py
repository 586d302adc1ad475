import asyncio
import json
import smtplib
import socket
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local import mailbox, ports
from local.mailbox import Mail
from local.sink import Session, Sink, unstuffed, wish


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A sink in a thread of its own."""
    mailbox.create(tmp_path)
    ready, stopped, numbers = threading.Event(), asyncio.Event(), list[int]()

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        sink = Sink(tmp_path)
        server = await loop.create_server(lambda: Session(sink), ports.LOOPBACK, 0)
        numbers.append(server.sockets[0].getsockname()[1])
        loops.append(loop)
        ready.set()
        await stopped.wait()
        server.close()

    loops = list[asyncio.AbstractEventLoop]()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    yield numbers[0]
    loops[0].call_soon_threadsafe(stopped.set)
    thread.join(10)


def said(port: int, *sent: bytes) -> list[bytes]:
    """Say it all in one go and return the reply lines until the server closes, or 421 seconds have passed."""
    with closing(socket.create_connection((ports.LOOPBACK, port), 10)) as connection:
        connection.sendall(b"".join(sent))
        return connection.makefile("rb").read().splitlines()


def envelope(recipient: bytes = b"<a@example.org>") -> bytes:
    return b"EHLO me\r\nMAIL FROM:<me@example.com>\r\nRCPT TO:" + recipient + b"\r\nDATA\r\n"


def only_mail(folder: Path) -> Mail:
    [mail] = mailbox.received(folder)
    return mail


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"Subject: a\r\n\r\ntext\r\n", b"Subject: a\r\n\r\ntext\r\n"),
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"..\r\n", b".\r\n"),
        (b"..one\r\n...\r\nmid.dle\r\n....\r\n", b".one\r\n..\r\nmid.dle\r\n...\r\n"),
        (b"bare\nline\n.\nfeeds\r and returns\r\n", b"bare\nline\n.\nfeeds\r and returns\r\n"),
        (
            bytes(range(1, 10)) + bytes(range(14, 256)) + b"\0\r\n",
            bytes(range(1, 10)) + bytes(range(14, 256)) + b"\0\r\n",
        ),
        (b"x" * 300_000 + b"\r\n", b"x" * 300_000 + b"\r\n"),
        (b"ends without a line end", None),
    ],
)
def test_mail_is_kept_byte_for_byte(port: int, tmp_path: Path, sent: bytes, kept: bytes | None) -> None:
    ending = b".\r\n" if sent.endswith(b"\r\n") or not sent else b"\r\n.\r\n"
    replies = said(port, envelope(), sent, ending, b"QUIT\r\n")
    assert replies[-2].startswith(b"250 2.0.0 Kept as ")
    assert replies[-1].startswith(b"221 ")
    assert only_mail(tmp_path).content == (sent + b"\r\n" if kept is None else kept)


@given(st.binary(max_size=40))
def test_unstuffing_undoes_what_a_client_does(content: bytes) -> None:
    lines = content.split(b"\r\n")
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in lines)
    assert unstuffed(stuffed) == content


def test_bytes_may_come_one_at_a_time(port: int, tmp_path: Path) -> None:
    with closing(socket.create_connection((ports.LOOPBACK, port), 10)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in envelope() + b"..a\r\nb\r\n.\r\nQUIT\r\n":
            connection.send(bytes([byte]))
        connection.makefile("rb").read()
    assert only_mail(tmp_path).content == b".a\r\nb\r\n"


def test_two_pipelined_messages_stay_two(port: int, tmp_path: Path) -> None:
    said(port, envelope(), b"one\r\n.\r\n", envelope(), b"two\r\n.\r\nQUIT\r\n")
    assert [mail.content for mail in mailbox.received(tmp_path)] == [b"one\r\n", b"two\r\n"]


def test_the_envelope_lies_beside_in_the_clients_spelling(port: int, tmp_path: Path) -> None:
    said(
        port,
        b"EHLO me\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=aB+2Bc\r\n",
        'RCPT TO:<Jörg.O\'Neil+Tag@Bücher.example> NOTIFY=NEVER\r\nRCPT TO:<"odd one"@example.org>\r\n'.encode(),
        b"DATA\r\nx\r\n.\r\nQUIT\r\n",
    )
    mail = only_mail(tmp_path)
    assert mail.envelope.mail_from == ""
    assert mail.envelope.rcpt_tos == ("Jörg.O'Neil+Tag@Bücher.example", '"odd one"@example.org')
    assert mail.envelope.mail_options == ("SIZE=10", "BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=aB+2Bc")
    assert mail.envelope.rcpt_options == ("NOTIFY=NEVER", "")
    assert mail.envelope.received_at.endswith("+00:00")
    sidecar = tmp_path / "envelopes" / f"{mail.name}.json"
    assert json.loads(sidecar.read_text())["rcpt_tos"] == list(mail.envelope.rcpt_tos)
    assert mail.file.parent == tmp_path / "new"
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in mailbox.FOLDERS} == {0o700}
    assert not list((tmp_path / "tmp").iterdir())


def test_it_offers_what_the_worker_may_use(port: int) -> None:
    with smtplib.SMTP(ports.LOOPBACK, port) as client:
        client.ehlo()
        assert {"size", "8bitmime", "smtputf8"} <= client.esmtp_features.keys()
        assert "auth" not in client.esmtp_features


def test_wrong_order_and_syntax_are_refused(port: int) -> None:
    codes = [
        line[:3]
        for line in said(
            port,
            b"MAIL FROM:<a@b.co>\r\nHELO me\r\nRCPT TO:<a@b.co>\r\nMAIL FROM:a@b.co\r\nMAIL FROM:<a@b.co>\r\n",
            b"MAIL FROM:<a@b.co>\r\nRCPT TO:<>\r\nDATA\r\nRCPT TO:<a@b.co>\r\nDATA x\r\nRSET\r\nDATA\r\nQUIT\r\n",
        )
    ]
    expected = b"220 503 250 503 501 250 503 501 503 250 501 250 503 221"
    assert b" ".join(codes) == expected


def test_too_much_mail_is_refused(port: int, tmp_path: Path) -> None:
    assert said(port, b"EHLO me\r\nMAIL FROM:<a@b.co> SIZE=99999999\r\nQUIT\r\n")[-2].startswith(b"552 5.3.4")
    assert not list(mailbox.received(tmp_path))


def test_reject_refuses_one_recipient_only(port: int, tmp_path: Path) -> None:
    with smtplib.SMTP(ports.LOOPBACK, port) as client:
        refused = client.sendmail("me@example.com", ["reject@example.org", "Reject+1@example.org", "ok@b.co"], "x")
    assert {code for code, _ in refused.values()} == {550}
    assert len(refused) == 2
    assert only_mail(tmp_path).envelope.rcpt_tos == ("ok@b.co",)


def test_tempfail_refuses_as_often_as_told(port: int) -> None:
    codes = []
    with smtplib.SMTP(ports.LOOPBACK, port) as client:
        client.ehlo()
        for _ in range(3):
            client.mail("me@example.com")
            codes.append(client.rcpt("tempfail-2+mine@example.org")[0])
            client.rset()
        client.mail("me@example.com")
        codes.append(client.rcpt("tempfail-1+other@example.org")[0])
    assert codes == [451, 451, 250, 451]


def test_slow_answers_late(port: int) -> None:
    began = time.monotonic()
    assert said(port, envelope(b"<slow-0.3@b.co>"), b".\r\nQUIT\r\n")[-2].startswith(b"250")
    assert time.monotonic() - began >= 0.3


def test_drop_keeps_the_mail_but_does_not_say_so(port: int, tmp_path: Path) -> None:
    assert said(port, envelope(b"<drop@b.co>"), b"x\r\n.\r\n")[-1].startswith(b"354")
    assert only_mail(tmp_path).content == b"x\r\n"


def test_mail_cut_off_by_the_client_is_not_kept(port: int, tmp_path: Path) -> None:
    with closing(socket.create_connection((ports.LOOPBACK, port), 10)) as connection:
        connection.sendall(envelope() + b"half a mess")
        connection.shutdown(socket.SHUT_WR)
        connection.makefile("rb").read()
    assert not list(mailbox.received(tmp_path))


def test_many_clients_at_once_lose_nothing(port: int, tmp_path: Path) -> None:
    def send(number: int) -> None:
        with smtplib.SMTP(ports.LOOPBACK, port) as client:
            client.sendmail("me@example.com", ["a@b.co"], f"number {number}\r\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(40)))
    contents = sorted(mail.content for mail in mailbox.received(tmp_path))
    assert contents == sorted(b"number %d\r\n" % number for number in range(40))


@pytest.mark.parametrize("address", ["a@reject.example", "rejected@b.co", "tempfail@b.co", "slow-x@b.co", ""])
def test_ordinary_recipients_wish_nothing(address: str) -> None:
    assert wish(address) is None
