"""What becomes of a message once it is complete: its job, the wait for SQS, and who hears what."""

import asyncio
import re
from collections.abc import Sequence

import pytest

from backing.sqs import Outgoing
from mail.errors import Unavailable
from mail.headers import Hop
from mail.job import Job, Recipient, StoredBody, decode
from relay.intake.accept import Arrival, Intake, Submission
from relay.intake.budget import Budget
from relay.intake.deadlines import Deadlines
from tests.relay.house import CREDENTIAL, Bodies, Queue, until

pytestmark = pytest.mark.anyio

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
            assert answer == sent
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
        waits: list[asyncio.Task[Job]] = []
        for arrival in arrivals:
            waits.append(tasks.create_task(intake.accept(arrival)))
            # Each of the first two fills a call; the others wait behind them.
            for _ in range(5):
                await asyncio.sleep(0)
        waits[0].cancel()
        waits[3].cancel()
        await asyncio.sleep(0)
        queue.answers.set()
        jobs = [await wait for wait in (waits[1], waits[2], waits[4])]
    assert [job.id for job in jobs] == [arrivals[n].id for n in (1, 2, 4)]
    assert [job.id for job in queue.jobs] == [arrivals[n].id for n in (0, 1, 2, 4)]


async def test_the_job_travels_as_it_is_answered() -> None:
    queue = Queue()
    async with Intake(queue, Bodies(), Budget(10_000_000), 5).running() as intake:
        job = await intake.accept(await complete(intake, b"Message-ID: <1@a>\r\n\r\nx"))
    (sent,) = queue.sent
    assert decode(sent.text) == job
    assert (sent.group, job.header_message_id) == (str(CREDENTIAL.account.id), "<1@a>")
    assert isinstance(job.body, bytes)
    assert job.body.endswith(b"Message-ID: <1@a>\r\n\r\nx\r\n")


async def test_content_at_the_bound_stays_in_the_job() -> None:
    queue, bodies = Queue(), Bodies()
    async with Intake(queue, bodies, Budget(10_000_000), 5).running() as intake:
        arrival = intake.begin(submission(), 10_000_000)
        content = b"x" * (700_000 - arrival.content.size)
        await arrival.content.write(content)
        job = await intake.accept(arrival)
    assert job.size == 700_002
    assert queue.jobs == [job]
    assert (bodies.stored, job.inline) == ({}, True)


async def test_each_wait_ends_in_its_own_time() -> None:
    loop = asyncio.get_running_loop()
    deadlines, now = Deadlines(), loop.time()
    order: list[int] = []
    waits: list[asyncio.Future[str | None]] = [loop.create_future() for _ in range(5)]
    # The second one added is due first; the third is answered, the fourth is left alone.
    for number, seconds in enumerate((0.06, 0.02, 0.03, 0.01, 0.04)):
        waits[number].add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc]
        deadlines.add(waits[number], now + seconds)
    waits[2].set_result(None)
    deadlines.remove(waits[3])
    await until(lambda: len(order) == 4)
    assert order == [2, 1, 4, 0]
    assert [type(waits[n].exception()) for n in (0, 1, 4)] == [TimeoutError] * 3
    assert loop.time() - now >= 0.058
    assert not waits[3].done()

    others, later = Deadlines(), loop.time() + 0.02
    waits.append(loop.create_future())
    deadlines.add(waits[3], later)
    others.add(waits[5], later + 0.01)
    deadlines.stop()
    with pytest.raises(TimeoutError):
        await waits[5]
    assert not waits[3].done()
