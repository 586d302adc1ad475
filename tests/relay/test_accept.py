"""What becomes of a message once it is complete: its job, the wait for SQS, and who hears what."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from backing.sqs import Outgoing
from mail.errors import Unavailable
from mail.headers import Hop
from mail.job import Recipient, StoredBody, decode
from relay.intake.accept import Intake
from relay.intake.arrival import Arrival, Submission, job_of
from relay.intake.budget import Budget
from relay.intake.deadlines import Deadlines
from tests.relay.house import CREDENTIAL, Bodies, Queue, until

pytestmark = pytest.mark.anyio

NO_TIME: Any = None
LARGE = b"Subject: x\r\n\r\n" + (b"x" * 998 + b"\r\n") * 900


def submission(recipient: str = "you@example.net") -> Submission:
    return Submission(
        credential=CREDENTIAL,
        session="abcdefghijklmnop",
        hop=Hop("client.example", "192.0.2.7", "relay.test", "ESMTPSA", "TLSv1.3 TLS_AES_128_GCM_SHA256"),
        mail_from="me@example.com",
        recipients=(Recipient(recipient),),
        smtputf8=False,
        eight_bit=False,
        ret=None,
        envid=None,
    )


async def complete(intake: Intake, content: bytes = b"hello\r\n", recipient: str = "you@example.net") -> Arrival:
    arrival = intake.begin(submission(recipient), 10_000_000)
    await arrival.content.write(content)
    return arrival


class Choosy(Queue):
    """Refuses what goes to some recipients."""

    async def send(self, batch: Sequence[Outgoing]) -> list[str | None]:
        pairs = enumerate(zip(batch, await super().send(batch), strict=True))
        # What is base64 or hexadecimal in a job has no @.
        return [f"no {n}" if re.search(r"bad\d@", each.text) else answer for n, (each, answer) in pairs]


class SlowBodies(Bodies):
    """A bucket that does not answer."""

    async def put(self, message_id: object, body: bytes) -> StoredBody:  # noqa: ARG002 - like the one it stands for
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_partial_failure_reaches_exactly_its_messages() -> None:
    queue = Choosy()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        names = ["a", "bad1", "c", "bad2", "bad3", "f"]
        arrivals = [await complete(intake, recipient=f"{name}@example.net") for name in names]
        heard = await asyncio.gather(*map(intake.accept, arrivals), return_exceptions=True)
    assert queue.batches == [6]
    for arrival, name, answer, sent in zip(arrivals, names, heard, queue.jobs, strict=True):
        if name.startswith("bad"):
            assert isinstance(answer, Unavailable)
            assert str(answer) == f"SQS refused the message: no {names.index(name)}"
        else:
            assert answer is None
            assert sent.id == arrival.id


async def test_a_bucket_that_does_not_answer_is_waited_for_only_so_long() -> None:
    queue, bodies = Queue(), SlowBodies()
    async with Intake(queue, bodies, Budget(10_000_000), 0.05).running() as intake:
        arrival = await complete(intake, LARGE)
        with pytest.raises(Unavailable, match=r"^no confirmation within 0\.05 s$"):
            await intake.accept(arrival)
        arrival.content.discard()
        await until(lambda: bodies.aborted == 1)
    assert queue.sent == []


async def test_who_gives_up_takes_back_what_is_not_on_its_way() -> None:
    queue = Queue()
    queue.answers.clear()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake, asyncio.TaskGroup() as tasks:
        arrivals = [await complete(intake) for _ in range(5)]
        waits: list[asyncio.Task[None]] = []
        for arrival in arrivals:
            waits.append(tasks.create_task(intake.accept(arrival)))
            # Each of the first two fills a call; the others wait behind them.
            for _ in range(5):
                await asyncio.sleep(0)
        waits[0].cancel()
        waits[3].cancel()
        await asyncio.sleep(0)
        queue.answers.set()
        await asyncio.wait([waits[1], waits[2], waits[4]])
    sent = {arrival.id: n for n, arrival in enumerate(arrivals)}
    assert sorted(sent[job.id] for job in queue.jobs) == [0, 1, 2, 4]


async def test_the_job_travels_as_it_is_answered() -> None:
    queue = Queue()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        arrival = await complete(intake, b"Message-ID: <1@a>\r\n\r\nx")
        await intake.accept(arrival)
    (sent,) = queue.sent
    job = decode(sent.text)
    assert job == job_of(arrival, arrival.content.body)
    assert (sent.group, job.header_message_id) == (str(CREDENTIAL.account.id), "<1@a>")
    assert isinstance(job.body, bytes)
    assert job.body.endswith(b"Message-ID: <1@a>\r\n\r\nx\r\n")


async def test_content_at_the_bound_stays_in_the_job() -> None:
    queue, bodies = Queue(), Bodies()
    async with Intake(queue, bodies, Budget(10_000_000), 5).running() as intake:
        arrival = intake.begin(submission(), 10_000_000)
        content = b"x" * (700_000 - arrival.content.size)
        await arrival.content.write(content)
        await intake.accept(arrival)
    (job,) = queue.jobs
    assert job.size == 700_002
    assert (bodies.stored, job.inline) == ({}, True)


async def test_a_stored_body_has_its_marks_in_the_job() -> None:
    queue, marks = Queue(), b"X-Stream: bulk\r\nX-Tag: news, may\r\n\r\n"
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        large = intake.begin(submission(), 10_000_000)
        await large.content.write(marks + b"x" * 700_000)
        await intake.accept(large)
        await intake.accept(await complete(intake, marks))
    assert [(job.inline, job.stream, job.tags) for job in queue.jobs] == [
        (False, "bulk", ("news", "may")),
        (True, "", ()),
    ]


async def test_a_message_that_cannot_be_written_harms_no_other_of_its_batch() -> None:
    queue = Queue()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        good, bad, also_good = [await complete(intake, recipient=f"{name}@example.net") for name in "abc"]
        # Nothing that a client can say does this.
        bad = bad._replace(name="bad", at=NO_TIME)
        heard = await asyncio.gather(*map(intake.accept, (good, bad, also_good)), return_exceptions=True)
    assert [type(answer) for answer in heard] == [type(None), AttributeError, type(None)]
    assert [job.id for job in queue.jobs] == [good.id, also_good.id]


async def test_a_batch_that_is_larger_than_it_looked_goes_in_parts() -> None:
    queue = Queue()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        wide = submission()._replace(recipients=tuple(Recipient(f"{n}@{'x' * 60}.example") for n in range(2000)))
        arrivals = []
        for _ in range(9):
            arrival = intake.begin(wide, 10_000_000)
            await arrival.content.write(b"x" * 20_000)
            arrivals.append(arrival)
        assert not any(map(intake.fits, arrivals))
        await asyncio.gather(*map(intake.accept, arrivals))
    assert [job.id for job in queue.jobs] == [arrival.id for arrival in arrivals]
    assert max(sum(len(sent.text) for sent in part) for part in split(queue.sent, queue.batches)) <= 1_048_576
    assert len(queue.batches) > 1


def split(sent: list[Outgoing], batches: list[int]) -> list[list[Outgoing]]:
    """What was sent, batch by batch."""
    rest = iter(sent)
    return [[next(rest) for _ in range(size)] for size in batches]


async def test_a_message_id_longer_than_a_line_identifies_nothing() -> None:
    queue = Queue()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        for name in (b"<" + b"x" * 994 + b"@a>", b"<" + b"x" * 996 + b"@a>"):
            await intake.accept(await complete(intake, b"Message-ID: " + name + b"\r\n\r\n"))
    assert [(job.header_message_id is None, job.dedupe is None) for job in queue.jobs] == [(False,) * 2, (True,) * 2]


async def test_the_bucket_and_the_queue_have_one_time_together() -> None:
    queue, loop = Queue(), asyncio.get_running_loop()
    queue.answers.clear()

    class Slow(Bodies):
        async def put(self, message_id: UUID, body: bytes) -> StoredBody:
            await asyncio.sleep(0.3)
            return await super().put(message_id, body)

    async with Intake(queue, Slow(), Budget(10_000_000), 0.5).running() as intake:
        arrival, began = await complete(intake, LARGE), loop.time()
        with pytest.raises(Unavailable, match=r"^no confirmation within 0\.5 s$"):
            await intake.accept(arrival)
        assert 0.49 <= loop.time() - began < 0.75
        arrival.content.discard()
        queue.answers.set()


async def test_each_wait_ends_in_its_own_time() -> None:
    loop = asyncio.get_running_loop()
    overdue: list[str] = []
    deadlines, now = Deadlines(overdue.append), loop.time()
    # The second one added is due first; one is left alone.
    for name, seconds in (("last", 0.06), ("first", 0.02), ("second", 0.03), ("none", 0.01), ("third", 0.04)):
        deadlines.add(name, now + seconds)
    deadlines.remove("none")
    await until(lambda: len(overdue) == 4)
    assert overdue == ["first", "second", "third", "last"]
    assert loop.time() - now >= 0.058

    others, later = Deadlines(overdue.append), loop.time() + 0.02
    deadlines.add("stopped", later)
    others.add("other", later + 0.01)
    deadlines.stop()
    await until(lambda: len(overdue) == 5)
    assert overdue[4:] == ["other"]
