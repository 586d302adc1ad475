"""Messages: what is queued, what is refused, and what a client hears when the queue is in trouble."""

import asyncio
import base64
import hashlib
import re
import tracemalloc
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from mail.dedupe import Marks, dedupe_key
from mail.errors import Unavailable
from tests.relay.house import ACCOUNT, CREDENTIAL, SECRET, Files, content_of, relay, until

pytestmark = pytest.mark.anyio

CONTENT = b"Message-ID: <1@example.com>\r\nSubject: x\r\n\r\nHello\r\n"


@pytest.mark.requirement("CORE-SMTP-004")
@pytest.mark.requirement("CORE-SMTP-008")
async def test_a_message_becomes_a_job_before_the_client_hears_of_it(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        running.queue.answers.clear()
        await peer.envelope(["you@example.net", "you@EXAMPLE.net", "she@example.net"])
        peer.send(CONTENT + b".\r\n")
        await running.queue.asked.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.reader.readline(), 0.05)
        running.queue.answers.set()
        reply = await peer.expect("250 2.0.0 queued as ")
        (job,) = running.queue.jobs

        assert reply == f"250 2.0.0 queued as {job.id}"
        assert content_of(job) == CONTENT
        assert isinstance(job.body, bytes)
        assert (job.sha256, job.size) == (hashlib.sha256(CONTENT).digest(), len(job.body))
        assert job.body[job.head :] == CONTENT
        assert (job.account_id, job.credential_id) == (ACCOUNT.id, CREDENTIAL.id)
        assert (job.mail_from, job.header_message_id) == ("me@example.com", "<1@example.com>")
        assert [recipient.address for recipient in job.recipients] == ["you@example.net", "she@example.net"]
        addresses = ["you@example.net", "she@example.net"]
        marks = Marks(None, "<1@example.com>", hashlib.sha256(CONTENT).digest())
        assert job.dedupe == dedupe_key(CREDENTIAL.id, "me@example.com", addresses, marks)
        assert running.queue.sent[0].group == str(ACCOUNT.id)
        received = re.sub(rb"\s+", b" ", job.body.partition(b"Message-ID")[0]).decode()
        assert received.startswith("Received: from client.example ([127.0.0.1]) (TLSv1.3 TLS_AES_")
        assert f"by relay.test with ESMTPSA id {job.id} (session {job.session});" in received


async def test_the_options_of_the_envelope_travel_with_the_job(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.ask("MAIL FROM:<> SMTPUTF8 BODY=8BITMIME RET=hdrs ENVID=Q+2Bx SIZE=20 requiretls", "250")
        await peer.ask("RCPT TO:<ü@example.net> NOTIFY=success,Delay ORCPT=rfc822;A+40example.net", "250")
        await peer.ask("RCPT TO:<ü@EXAMPLE.net> NOTIFY=NEVER", "250")
        await peer.ask("DATA", "354")
        await peer.ask(".", "250")
        (job,) = running.queue.jobs
    assert (job.mail_from, job.smtputf8, job.eight_bit, job.ret, job.envid) == ("", True, True, "HDRS", "Q+2Bx")
    assert job.require_tls
    (recipient,) = job.recipients
    assert recipient.address == "ü@example.net"
    assert (recipient.notify, recipient.orcpt) == ("SUCCESS,DELAY", "rfc822;A+40example.net")
    assert job.dedupe is None
    assert b"with UTF8SMTPSA id" in (job.body if isinstance(job.body, bytes) else b"")


async def test_a_wide_envelope_travels_with_the_body_stored(files: Files) -> None:
    recipients = [f"{'x' * 50}{n}@{'d' * 60}.{'e' * 60}.example" for n in range(1000)]
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        peer.send(b"".join(f"RCPT TO:<{address}>\r\n".encode() for address in recipients))
        for _ in recipients:
            await peer.expect("250 2.1.5")
        await peer.ask("RCPT TO:<one.more@example.net>", "452 4.5.3")
        await peer.ask(f"RCPT TO:<{recipients[0]}>", "250 2.1.5")
        await peer.ask("DATA", "354")
        peer.send(b"x" * 690_000 + b"\r\n.\r\n")
        await peer.expect("250 2.0.0")
        (job,) = running.queue.jobs
        assert len(job.recipients) == 1000
        assert not job.inline
        assert len(running.queue.sent[0].text) < 1_048_576


@pytest.mark.parametrize(
    "trouble",
    [
        {"fault": Unavailable("SQS send_message_batch: secret")},
        {"refusal": "InternalError: secret"},
        {"fault": ValueError("secret dsn=postgresql://")},
    ],
)
async def test_trouble_with_the_queue_is_temporary_and_no_business_of_the_client(
    files: Files, trouble: dict[str, object]
) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        for name, value in trouble.items():
            setattr(running.queue, name, value)
        reply = await peer.submit(CONTENT)
        assert re.fullmatch(r"451 4\.3\.0 [A-Za-z ,]+ ref=[a-z2-7]{16}", reply)
        assert "secret" not in reply
        running.queue.fault = running.queue.refusal = None
        assert (await peer.submit(CONTENT)).startswith("250 ")


async def test_a_queue_that_does_not_answer_is_waited_for_only_so_long(files: Files) -> None:
    async with relay(files, relay_accept_timeout_seconds=0.1) as running:
        running.queue.answers.clear()
        peers = [await running.signed_in() for _ in range(6)]
        for peer in peers:
            await peer.envelope()
            peer.send(b".\r\n")
        assert {(await peer.reply())[:9] for peer in peers} == {"451 4.3.0"}
        running.queue.answers.set()
        assert (await peers[0].submit(b"later")).startswith("250 ")
        # Two calls were under way; the four messages that waited behind them were taken back.
        assert len(running.queue.sent) == 3


async def test_concurrent_sessions_share_calls(files: Files) -> None:
    async with relay(files) as running:
        peers = [await running.signed_in() for _ in range(24)]
        running.queue.answers.clear()
        for peer in peers:
            await peer.envelope()
            peer.send(b".\r\n")
        await until(lambda: running.counted("relay_sessions") == 24)
        running.queue.answers.set()
        for peer in peers:
            await peer.expect("250 ")
        assert sum(running.queue.batches) == 24
        assert max(running.queue.batches) == 10


@pytest.mark.parametrize("rudely", [True, False])
async def test_a_client_that_hangs_up_does_not_stop_its_message(files: Files, rudely: bool) -> None:  # noqa: FBT001
    async with relay(files) as running:
        peer = await running.signed_in()
        running.queue.answers.clear()
        await peer.envelope()
        peer.send(CONTENT + b".\r\n")
        await running.queue.asked.wait()
        if rudely:
            peer.writer.transport.abort()
        else:
            peer.writer.close()
        await until(lambda: all(session.gone for session in running.server.sessions))
        running.queue.answers.set()
        await until(lambda: running.counted("relay_sessions") == 0)
        assert [content_of(job) for job in running.queue.jobs] == [CONTENT]


async def test_a_client_that_closes_only_its_side_still_hears_the_reply(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.connect()
        await peer.expect("220")
        peer.send(b"EHLO a.example\r\nNOOP\r\n")
        peer.writer.write_eof()
        await peer.expect("250-relay.test")
        await peer.expect("250 2.0.0 OK")
        assert await peer.rest() == b""


async def test_one_line_of_log_for_a_message_and_one_for_a_session(files: Files) -> None:
    async with relay(files) as running:
        with capture_logs() as lines:
            peer = await running.signed_in()
            accepted = await peer.submit(b"Subject: confidential\r\n\r\nbody")
            await peer.submit(b"bare\nline feed")
            running.queue.fault = Unavailable("SQS: throttled")
            await peer.submit(b"later")
            await peer.ask("QUIT", "221")
            await peer.rest()
            await until(lambda: running.counted("relay_sessions") == 0)
        assert len({line["session"] for line in lines}) == 1
        assert [(line["event"], line.get("result")) for line in lines] == [
            ("message", "accepted"),
            ("message", "refused"),
            ("message", "deferred"),
            ("session ended", None),
        ]
        assert lines[0]["id"] in accepted
        assert (lines[0]["account"], lines[0]["user"]) == ("shop", "app")
        totals = {name: lines[-1][name] for name in ("why", "accepted", "refused", "deferred", "tls")}
        assert totals == {"why": "quit", "accepted": 1, "refused": 1, "deferred": 1, "tls": "TLSv1.3"}
        everything = str(lines)
        assert "confidential" not in everything
        assert SECRET not in everything
        assert base64.b64encode(SECRET.encode()).decode() not in everything


async def test_pipelined_commands_are_answered_in_one_write(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        peer.send(b"MAIL FROM:<me@example.com>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n")
        assert await asyncio.wait_for(peer.reader.read(4096), 10) == (
            b"250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n250 2.1.5 Recipient OK\r\n"
            b"354 End data with <CR><LF>.<CR><LF>\r\n"
        )
        peer.send(b"one\r\n.\r\nMAIL FROM:<me@example.com>\r\nRCPT TO:<a@example.net>\r\nDATA\r\ntwo\r\n.\r\nQUIT\r\n")
        heard = (await peer.rest()).decode().splitlines()
        assert [line[:3] for line in heard] == ["250", "250", "250", "354", "250", "221"]
        assert [content_of(job) for job in running.queue.jobs] == [b"one\r\n", b"two\r\n"]


async def test_a_client_that_does_not_read_is_not_read_from(files: Files) -> None:
    async with relay(files) as running:
        hog = await running.connect()
        await hog.expect("220")
        hog.writer.transport.set_write_buffer_limits(high=65_536)
        flood = b"HELP\r\n" * 10_000
        tracemalloc.start()
        sent = 0
        with suppress(TimeoutError):
            for sent in range(2000):  # noqa: B007 - what it got to is the answer
                hog.send(flood)
                await asyncio.wait_for(hog.writer.drain(), 0.5)
        assert sent < 1999
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 * 1024 * 1024
        other = await running.signed_in()
        assert (await other.submit(CONTENT)).startswith("250 ")
        hog.writer.transport.abort()
