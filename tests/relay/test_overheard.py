"""Sessions as an operator overhears them: every word but secrets and mail."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from mail.accounts import GeneratedSecret, secret_digest
from relay.transcript import Transcripts
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, PLAIN, SECRET, USER, Files, Running, relay, until

pytestmark = pytest.mark.anyio

MESSAGE = b"Subject: private\r\n\r\nvery private"
SECRET_LINE = base64.b64encode(SECRET.encode()).decode()


@asynccontextmanager
async def overheard(files: Files, **asked: str) -> AsyncIterator[tuple[Running, list[tuple[str, str]]]]:
    """A relay to which somebody listens, and what he hears: who, and which words."""
    lines: list[tuple[str, str]] = []

    def hand_on(watch: str, text: str) -> None:
        line = json.loads(text)
        assert (watch, line["peer"]) == ("w", "127.0.0.1")
        lines.append((line["who"], line["line"]))

    async with relay(files) as running:
        running.house.transcripts = Transcripts(hand_on)
        running.hear("transcript", json.dumps({"id": "w"} | asked))
        yield running, lines


async def test_a_session_is_overheard_without_its_secret_and_its_mail(files: Files) -> None:
    async with overheard(files, network="127.0.0.0/8") as (running, lines):
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        capabilities = [("S", line) for _, line in lines[2:]]
        await peer.ask(f"AUTH PLAIN {PLAIN}", "235")
        await peer.submit(MESSAGE, ["you@b.example"])
        (job,) = running.queue.jobs
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        await peer.ask("RCPT TO:<you@b.example>", "250")
        peer.send(b"BDAT 10\r\n" + MESSAGE[:10])
        await peer.expect("250")
        peer.send(b"BDAT %d LAST\r\n" % len(MESSAGE[10:]) + MESSAGE[10:])
        reply = await peer.expect("250")
        await peer.ask("FOO bar", "500")
        await peer.ask("QUIT", "221")
        await until(lambda: lines[-1][0] == "*")
        assert [line for line in lines if line not in capabilities] == [
            ("S", "220 relay.test ESMTP"),
            ("C", "EHLO a.example"),
            ("C", "AUTH PLAIN ***"),
            ("S", "235 2.7.0 Authentication succeeded"),
            ("C", "MAIL FROM:<me@example.com>"),
            ("S", "250 2.1.0 Sender OK"),
            ("C", "RCPT TO:<you@b.example>"),
            ("S", "250 2.1.5 Recipient OK"),
            ("C", "DATA"),
            ("S", "354 End data with <CR><LF>.<CR><LF>"),
            ("C", f"({job.size} octets of mail)"),
            ("S", f"250 2.0.0 queued as {job.id}"),
            ("C", "MAIL FROM:<me@example.com>"),
            ("S", "250 2.1.0 Sender OK"),
            ("C", "RCPT TO:<you@b.example>"),
            ("S", "250 2.1.5 Recipient OK"),
            ("C", "BDAT 10"),
            ("C", "(10 octets of mail)"),
            ("S", "250 2.0.0 10 octets received"),
            ("C", f"BDAT {len(MESSAGE) - 10} LAST"),
            ("C", f"({len(MESSAGE) - 10} octets of mail)"),
            ("S", reply),
            ("C", "*** (7 octets)"),
            ("S", "500 5.5.2 Command not recognized"),
            ("C", "QUIT"),
            ("S", "221 2.0.0 Goodbye"),
            ("*", "session ended: quit"),
        ]


@pytest.mark.requirement("CORE-OPS-001")
@pytest.mark.parametrize(
    "words",
    [
        # In order, out of turn, with a mechanism that is none, without one, and parted by what parts nothing.
        ["AUTH LOGIN", base64.b64encode(USER.encode()).decode(), SECRET_LINE],
        ["AUTH PLAIN", PLAIN],
        ["AUTH NTLM", SECRET_LINE],
        [f"AUTH NTLM {SECRET_LINE}"],
        [f"AUTH {SECRET_LINE}"],
        [f"AUTH PLAIN\t{PLAIN}"],
        [f"AUTH  PLAIN  {PLAIN}"],
        [f"AUTH=PLAIN {PLAIN}"],
        [f" AUTH PLAIN {PLAIN}"],
        [PLAIN],
        ["AUTH PLAIN *", SECRET_LINE],
    ],
)
async def test_no_secret_is_overheard_wherever_it_is_said(files: Files, words: list[str]) -> None:
    async with overheard(files, network="127.0.0.1") as (running, lines):
        with capture_logs() as logged:
            peer = await running.connect(implicit_tls=True)
            await peer.expect("220")
            await peer.ask("EHLO a.example", "250")
            for line in words:
                peer.send(line.encode() + b"\r\n")
                await peer.reply()
            await peer.ask("QUIT", "221")
            await until(lambda: lines[-1][0] == "*")
        heard = json.dumps([lines, logged], default=str)
        assert [secret for secret in (PLAIN, SECRET_LINE, SECRET) if secret in heard] == []
        assert any("***" in line for _, line in lines)


async def test_only_the_account_that_was_asked_for_is_overheard(files: Files) -> None:
    async with overheard(files, account="shop") as (running, lines):
        running.accounts.credentials["b"] = replace(
            CREDENTIAL,
            username="b",
            secret=GeneratedSecret(secret_digest(KEY, "b", "secret of b")),
            account=replace(ACCOUNT, name="bakery"),
        )
        other = await running.connect(implicit_tls=True)
        await other.expect("220")
        await other.ask("EHLO b.example", "250")
        response = base64.b64encode(b"\0b\0secret of b").decode()
        await other.ask(f"AUTH PLAIN {response}", "235")
        await other.submit(MESSAGE)
        assert lines == []
        await running.signed_in()
        assert lines == [("S", "235 2.7.0 Authentication succeeded")]
