"""What is in hand keeps its lease, in PostgreSQL and on the queue."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from backing.postgres.claims import Claimed
from backing.sqs import Queue
from tests.conftest import free_port
from tests.worker.house import Books, Post, ledger_of, make_job
from worker.errand import Errand
from worker.inbox import Inbox
from worker.leases import Leases
from worker.ledger import Ledger

pytestmark = pytest.mark.anyio

LEFT = "SELECT extract(epoch FROM lease_until - now())::float8 FROM delivery ORDER BY message_id"


async def test_leases_of_what_is_in_hand_begin_anew_and_no_others(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    jobs = sorted((make_job() for _ in range(3)), key=lambda job: job.id)
    await post.put(*jobs)
    async with AsyncExitStack() as stack:
        inbox = Inbox(Queue(await stack.enter_async_context(post.sqs()), post.queue_url), 0, 600)
        ledger = Ledger(await stack.enter_async_context(ledger_of(books.url, lease=600)))
        messages = await inbox.receive(3)
        claims = await ledger.claim([(job, job.accepted_at) for job in jobs])
        now = asyncio.get_running_loop().time()
        soon, fresh, lost = (
            Errand(message, job, claim, now + left)
            for message, job, left in zip(messages, jobs, (100, 500, 100), strict=True)
            if isinstance(claim := claims[job.id], Claimed)
        )
        books.run("UPDATE delivery SET lease_until = now() + interval '100 s'")
        books.run("UPDATE delivery SET lease_token = 9 WHERE message_id = %s", lost.job.id)
        leases = Leases(ledger, inbox, 600)
        with leases.holding(soon), leases.holding(fresh), leases.holding(lost), capture_logs() as lines:
            await leases.round()
        await leases.round()
        left = [round(seconds / 100) for (seconds,) in books.run(LEFT)]
        ends = [round((errand.lease_end - now) / 100) for errand in (soon, fresh, lost)]
    assert left == [6, 1, 1]
    assert ends == [6, 5, 1]
    assert [(line["event"], line["message"]) for line in lines] == [("lease lost", str(lost.job.id))]
    assert await post.counts() == (0, 3)


async def test_a_database_that_is_away_leaves_leases_as_they_are(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    await post.put(job)
    nowhere = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    async with AsyncExitStack() as stack:
        inbox = Inbox(Queue(await stack.enter_async_context(post.sqs()), post.queue_url), 0, 60)
        deliveries = await stack.enter_async_context(ledger_of(books.url))
        claim = (await deliveries.claim([(job, job.accepted_at)]))[job.id]
        assert isinstance(claim, Claimed)
        (message,) = await inbox.receive(1)
        errand = Errand(message, job, claim, 0.0)
        absent = Ledger(await stack.enter_async_context(ledger_of(nowhere, acquire=0.2)))
        leases = Leases(absent, inbox, 60)
        with leases.holding(errand), capture_logs() as lines:
            await leases.round()
    assert errand.lease_end == 0.0
    assert [line["event"] for line in lines] == ["leases not extended"]
