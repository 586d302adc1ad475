"""The content of messages: its octets, its line ends, its size, and where it lies."""

import hashlib
import re
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aioboto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.s3 import Bodies
from mail.errors import Reply, Unavailable
from mail.job import Job, StoredBody
from relay.intake.data import Repaired, Strict
from tests.relay.house import ACCOUNT, CREDENTIAL, USER, Files, Peer, Running, content_of, relay, until

pytestmark = pytest.mark.anyio

LARGE = (b"x" * 998 + b"\r\n") * 900
HIDDEN = b"MAIL FROM:<me@example.com>\r\nRCPT TO:<victim@example.net>\r\nDATA\r\nevil\r\n.\r\nNOOP\r\n"


def digest_of(body: bytes, job: Job) -> bytes:
    """The digest that a job ought to have."""
    return hashlib.sha256(body[job.head :]).digest()


def repaired(content: bytes) -> bytes:
    """What the option makes of a content, told plainly."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", content.replace(b"\0", b""))


def repair(running: Running) -> None:
    account = replace(ACCOUNT, repair_line_ends=True)
    running.accounts.credentials[USER] = replace(CREDENTIAL, account=account)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n",
        b".\r\n",
        b"..\r\n.\r\n...\r\n",
        b"Subject: x\r\n\r\n.a\r\n..b\r\nc.\r\n",
        b"x" * 200_000 + b"\r\n",
        bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n",
    ],
)
async def test_octets_arrive_as_they_were_meant(files: Files, content: bytes) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.envelope()
        stuffed = re.sub(rb"(?m)^\.", b"..", content)
        peer.send(stuffed + b".\r\n")
        await peer.expect("250 2.0.0 queued as")
        (job,) = running.queue.jobs
        assert content_of(job) == content
        assert job.eight_bit is (not content.isascii())


SMUGGLERS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r.\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\n.\r\n",
    b"\0\r\n.\0\r\n",
    b"\r\n.\0\r\n",
    b"\n\n.\n\n",
    b"\r\n\0.\r\n",
    b"\n.\r\n\0",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
]


@pytest.mark.parametrize("trick", SMUGGLERS)
async def test_a_second_message_cannot_be_smuggled_in(files: Files, trick: bytes) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.envelope()
        peer.send(b"Subject: x\r\n\r\nhello" + trick + HIDDEN)
        await peer.expect("550 5.6.0 Message has a ")
        await peer.expect("250 2.0.0 OK")
        peer.send(b"QUIT\r\n")
        assert await peer.rest() == b"221 2.0.0 Goodbye\r\n"
        assert running.queue.sent == []


@pytest.mark.parametrize("trick", SMUGGLERS)
async def test_what_is_repaired_stays_one_message(files: Files, trick: bytes) -> None:
    async with relay(files) as running:
        repair(running)
        peer = await running.signed_in()
        await peer.envelope()
        content = b"Subject: x\r\n\r\nhello" + trick + HIDDEN.partition(b".\r\nNOOP")[0]
        peer.send(content + b".\r\nNOOP\r\n")
        await peer.expect("250 2.0.0 queued as")
        await peer.expect("250 2.0.0 OK")
        (job,) = running.queue.jobs
        assert content_of(job) == repaired(content.replace(b"\r\n.", b"\r\n"))
        assert isinstance(job.body, bytes)
        assert digest_of(job.body, job) == job.sha256


PIECES = st.lists(st.lists(st.sampled_from([b"\r", b"\n", b"\0", b".", b"a", b"\r\n"]), max_size=6).map(b"".join))


@given(PIECES)
def test_a_repaired_content_has_no_line_end_but_crlf(pieces: list[bytes]) -> None:
    line_ends = Repaired()
    content = b"".join(map(line_ends.take, pieces)) + line_ends.end()
    assert content == repaired(b"".join(pieces))
    assert content.count(b"\r") == content.count(b"\n") == content.count(b"\r\n")
    assert line_ends.fault is None


@given(PIECES)
def test_a_fault_does_not_depend_on_the_pieces(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    bare = re.sub(rb"\r\n", b"", content)
    faults = [name for octet, name in ((b"\n", "a bare LF"), (b"\r", "a bare CR"), (b"\0", "a NUL")) if octet in bare]
    line_ends = Strict()
    kept = b"".join(map(line_ends.take, pieces)) + line_ends.end()
    if faults:
        assert isinstance(line_ends.fault, Reply)
        assert line_ends.fault.text.startswith(f"Message has {faults[0]}")
    else:
        assert line_ends.fault is None
        assert kept == content


async def test_a_large_body_is_stored_first(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        assert (await peer.submit(LARGE + b"\xff")).startswith("250 2.0.0 queued as")
        (job,) = running.queue.jobs
        assert job.body == StoredBody("bodies", str(job.id))
        stored = running.bodies.stored[str(job.id)]
        assert stored.endswith(b"\r\n" + LARGE + b"\xff\r\n")
        assert (job.sha256, job.size, job.eight_bit) == (digest_of(stored, job), len(stored), True)
        assert running.counted("relay_bytes_in_flight") == 0

        running.bodies.fault = Unavailable("S3 PutObject: SlowDown")
        assert (await peer.submit(LARGE)).startswith("451 4.3.0 ")
        running.bodies.fault = ValueError("secret")
        with capture_logs() as lines:
            assert re.fullmatch(r"451 4\.3\.0 [A-Za-z ,]+ ref=[a-z2-7]{16}", await peer.submit(LARGE))
        assert [line["event"] for line in lines] == ["command broke"]
        assert (await peer.submit(b"small")).startswith("250 ")
        assert len(running.queue.sent) == 2
        assert running.bodies.open == set()
        assert running.bodies.aborted == 2
        assert running.counted("relay_bytes_in_flight") == 0


async def test_the_headers_of_a_large_message_are_found(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        for first in (b"X-Idempotency-Key: k\r\nMessage-ID: <1@a>\r\n", b"\r\nMessage-ID: <2@a>\r\n"):
            assert (await peer.submit(first + LARGE)).startswith("250 ")
        assert [job.header_message_id for job in running.queue.jobs] == ["<1@a>", None]
        assert [job.dedupe is not None for job in running.queue.jobs] == [True, False]


@pytest.mark.parametrize("end", [b"bare\n", b"x" * 200_000])
async def test_an_upload_for_nothing_is_given_up(files: Files, end: bytes) -> None:
    async with relay(files, relay_max_message_bytes=1_000_000) as running:
        peer = await running.signed_in()
        await peer.envelope()
        peer.send(LARGE)
        await until(lambda: bool(running.bodies.open))
        peer.send(end)
        await until(lambda: running.bodies.aborted == 1)
        assert running.counted("relay_bytes_in_flight") == 0
        peer.send(LARGE + b"\r\n.\r\n")
        await peer.expect("55")
        assert (await peer.submit(LARGE)).startswith("250 ")
        assert running.bodies.aborted == 1


@pytest.mark.parametrize("rudely", [True, False])
async def test_a_peer_that_is_lost_leaves_nothing_behind(files: Files, rudely: bool) -> None:  # noqa: FBT001
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.envelope()
        peer.send(LARGE)
        await until(lambda: bool(running.bodies.open))
        assert running.counted("relay_bytes_in_flight") > 700_000
        if rudely:
            peer.writer.transport.abort()
        else:
            peer.writer.close()
        await until(lambda: running.counted("relay_sessions") == 0)
        await until(lambda: running.bodies.aborted == 1)
        assert running.counted("relay_bytes_in_flight") == 0


async def test_a_session_that_is_cut_leaves_nothing_behind(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.envelope()
        peer.send(LARGE)
        await until(lambda: bool(running.bodies.open))
    assert (running.bodies.open, running.bodies.aborted) == (set(), 1)
    assert running.counted("relay_bytes_in_flight") == 0


async def test_a_relay_that_is_full_takes_what_it_has_begun(files: Files) -> None:
    full = "452 4.3.1 Too much mail on its way, try again later ref="
    async with relay(files, relay_max_bytes_in_flight=16_777_216) as running:
        other, waiting, *hogs = [await running.signed_in() for _ in range(4)]
        await waiting.ask("MAIL FROM:<me@example.com>", "250")
        await waiting.ask("RCPT TO:<you@example.net>", "250")
        for hog in hogs:
            await hog.envelope()
        for hog in hogs:
            hog.send(LARGE * 10)
        await until(lambda: running.counted("relay_bytes_in_flight") > 2 * 10 * len(LARGE))
        await other.ask("MAIL FROM:<me@example.com>", full)
        await waiting.ask("DATA", full)
        for hog in hogs:
            hog.send(b".\r\n")
            await hog.expect("250 2.0.0 queued as")
        assert running.counted("relay_bytes_in_flight") == 0
        assert (await other.submit(b"now")).startswith("250 ")
        await waiting.ask("DATA", "354")


async def test_far_above_the_limit_messages_are_given_up(files: Files) -> None:
    async with relay(files, relay_max_bytes_in_flight=16_777_216) as running:
        hogs = [await running.signed_in() for _ in range(3)]
        for hog in hogs:
            await hog.envelope()
        for hog in hogs:
            hog.send(LARGE * 11)
        await until(lambda: running.bodies.aborted == 1)
        for hog in hogs:
            hog.send(b".\r\n")
        replies = sorted([(await hog.reply())[:9] for hog in hogs])
        assert replies == ["250 2.0.0", "250 2.0.0", "451 4.3.0"]
        assert running.counted("relay_bytes_in_flight") == 0


@dataclass
class Cloud:
    """S3 with a bucket of a test's own."""

    client: Any
    bucket: str

    async def unfinished(self) -> int:
        return len((await self.client.list_multipart_uploads(Bucket=self.bucket)).get("Uploads", []))

    async def objects(self) -> dict[str, bytes]:
        listed = (await self.client.list_objects_v2(Bucket=self.bucket)).get("Contents", [])
        return {
            each["Key"]: await (await self.client.get_object(Bucket=self.bucket, Key=each["Key"]))["Body"].read()
            for each in listed
        }


@asynccontextmanager
async def cloud() -> AsyncIterator[tuple[Cloud, Bodies]]:
    session: Any = aioboto3.Session()
    name = f"b-{uuid.uuid1()}"
    async with session.client("s3", region_name="eu-central-1") as client, Aws("eu-central-1").s3() as ours:
        await client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield Cloud(client, name), Bodies(ours, name)


async def begun(peer: Peer, content: bytes) -> None:
    await peer.envelope()
    peer.send(content)
    await peer.writer.drain()


async def test_large_messages_pass_through_s3(files: Files, aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    huge = LARGE * 7
    async with cloud() as (s3, bodies), relay(files, store=bodies, relay_max_message_bytes=7_000_000) as running:
        peer, lost = await running.signed_in(), await running.signed_in()
        for content in (LARGE, huge):
            assert (await peer.submit(content)).startswith("250 ")
        stored, jobs = await s3.objects(), running.queue.jobs
        assert [job.body for job in jobs] == [StoredBody(s3.bucket, f"bodies/{job.id}") for job in jobs]
        assert [digest_of(stored[f"bodies/{job.id}"], job) for job in jobs] == [job.sha256 for job in jobs]
        assert stored[f"bodies/{jobs[1].id}"].endswith(b"\r\n" + huge + b"\r\n")

        await begun(lost, huge)
        lost.writer.transport.abort()
        assert (await peer.submit(huge + LARGE)).startswith("552 5.3.4 ")
        assert (await peer.submit(huge + b"\n")).startswith("550 5.6.0 ")
        await until(lambda: running.counted("relay_sessions") == 1)
    async with cloud() as (other, _):
        left = Cloud(other.client, s3.bucket)
        assert (await left.unfinished(), await left.objects()) == (0, stored)


async def test_a_bucket_that_is_gone_defers_what_needs_it(
    files: Files, aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    async with cloud() as (s3, bodies), relay(files, store=bodies) as running:
        peer = await running.signed_in()
        await begun(peer, LARGE * 7)
        await until(lambda: running.counted("relay_bytes_in_flight") > 5_242_880)
        await s3.client.delete_bucket(Bucket=s3.bucket)
        peer.send(LARGE * 7 + b".\r\n")
        await peer.expect("451 4.3.0 ")
        assert (await peer.submit(b"small")).startswith("250 ")
        assert running.counted("relay_bytes_in_flight") == 0


async def test_too_large_a_message_is_refused_in_step(files: Files) -> None:
    async with relay(files, relay_max_message_bytes=65_536) as running:
        peer = await running.signed_in()
        line = b".." + b"x" * 60 + b"\r\n"
        exact = line * 1023 + b"x" * (65_536 - 1023 * 63 - 2)
        assert (await peer.submit(exact)).startswith("250 ")
        assert (await peer.submit(exact + b"x")) == "552 5.3.4 Message too large; the limit is 65536 octets"
        assert (await peer.submit(b"x\r\n" * 200_000)).startswith("552 5.3.4")
        assert (await peer.submit(exact)).startswith("250 ")
        assert [len(content_of(job)) for job in running.queue.jobs] == [65_536, 65_536]


async def test_a_message_without_line_ends_does_not_grow_memory(files: Files) -> None:
    piece = b"x" * 65_536
    async with relay(files, relay_max_message_bytes=1_048_576) as running:
        peer = await running.signed_in()
        await peer.envelope()
        tracemalloc.start()
        for _ in range(640):
            peer.send(piece)
            await peer.writer.drain()
        peer.send(b"\r\n.\r\n")
        await peer.expect("552 5.3.4")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
