"""The loop's edges: what is given back, and what waits for the database or the queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from backing.metrics import WorkerMetrics
from backing.postgres.claims import Claimed, Result
from backing.sqs import Queue
from backing.stop import Stop
from mail.errors import Unavailable
from mail.job import Job
from mail.states import DeliveryState
from tests.conftest import free_port
from tests.worker.house import Books, Post, ledger_of, make_job
from tests.worker.test_end_to_end import until
from worker.consumer import Consumer, Pace
from worker.errand import Errand
from worker.inbox import Inbox
from worker.ledger import Ledger

pytestmark = pytest.mark.anyio

PACE = Pace(concurrency=4, lease_seconds=60, drain_seconds=60)


@dataclass
class SlowCourier:
    """Never gets anywhere, or breaks."""

    fault: Exception | None = None
    holding: list[Job] = field(default_factory=list)

    async def deliver(self, errand: Errand) -> Any:
        self.holding.append(errand.job)
        if self.fault:
            raise self.fault
        await asyncio.Event().wait()


@asynccontextmanager
async def parts(books: Books, post: Post, poll_seconds: int = 0) -> AsyncIterator[tuple[Inbox, Ledger]]:
    async with AsyncExitStack() as stack:
        inbox = Inbox(Queue(await stack.enter_async_context(post.sqs()), post.queue_url), poll_seconds, 60)
        ledger = Ledger(await stack.enter_async_context(ledger_of(books.url)))
        yield await stack.enter_async_context(inbox.running()), await stack.enter_async_context(ledger.running())


@pytest.mark.requirement("SC-10.3")
async def test_what_was_claimed_but_not_begun_is_given_back(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    jobs, courier, stop = [make_job(), make_job()], SlowCourier(), Stop()
    await post.put(*jobs)
    async with parts(books, post) as (inbox, ledger), asyncio.TaskGroup() as tasks:
        consumer = Consumer(inbox, ledger, courier, WorkerMetrics(CollectorRegistry()), PACE)  # type: ignore[arg-type]
        tasks.create_task(consumer.run(stop))

        async def held() -> bool:
            return len(courier.holding) == 2

        await until(held)
        assert books.states() == ["sending", "sending"]
        stop.ask()
        stop.ask()
    assert [books.delivery(job.id) for job in jobs] == [("queued", 0, 0, 1)] * 2
    assert await post.counts() == (2, 0)


@pytest.mark.requirement("SC-10.3")
async def test_what_a_poll_brings_after_the_end_is_given_back_at_once(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    courier, stop = SlowCourier(), Stop()
    async with parts(books, post, poll_seconds=20) as (inbox, ledger):
        consumer = Consumer(inbox, ledger, courier, WorkerMetrics(CollectorRegistry()), PACE)  # type: ignore[arg-type]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consumer.run(stop))

            async def polling() -> bool:
                return consumer._polling  # noqa: SLF001 - nothing outside of it shows a poll

            await until(polling)
            stop.ask()
            await post.put(make_job())
    assert courier.holding == []
    assert books.states() == []
    assert await post.counts() == (1, 0)


async def test_one_that_breaks_is_left_to_its_lease_and_the_others_go_on(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    courier, stop = SlowCourier(RuntimeError("a bug")), Stop()
    await post.put(make_job(), make_job(), make_job(), make_job(), make_job())
    async with parts(books, post) as (inbox, ledger), asyncio.TaskGroup() as tasks:
        consumer = Consumer(inbox, ledger, courier, WorkerMetrics(CollectorRegistry()), PACE)  # type: ignore[arg-type]
        tasks.create_task(consumer.run(stop))

        async def all_met() -> bool:
            return len(courier.holding) == 5

        await until(all_met)
        stop.ask()
    assert set(books.states()) == {"sending"}
    assert await post.counts() == (0, 5)


async def test_a_queue_that_is_away_is_asked_again(books: Books, post: Post) -> None:
    nowhere = Post(f"http://127.0.0.1:{free_port()}", post.queue_url, post.bucket)
    async with parts(books, nowhere) as (inbox, ledger):
        stop, metrics = Stop(), WorkerMetrics(CollectorRegistry())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Consumer(inbox, ledger, SlowCourier(), metrics, PACE).run(stop))  # type: ignore[arg-type]
            with capture_logs() as lines:

                async def twice() -> bool:
                    return [line["event"] for line in lines].count("queue away") == 2

                await until(twice)
            stop.ask()
    async with parts(books, post) as (inbox, _):
        await post.put(make_job())
        (message,) = await inbox.receive(1)
    async with parts(books, nowhere) as (inbox, _):
        await inbox.done(message)
        await inbox.later([message], 5)
    assert await post.counts() == (0, 1)


async def test_a_result_waits_for_the_database_until_there_is_no_time_left(books: Books) -> None:
    nowhere = Books(books.url.replace("/test_", "/no_such_"))
    books.account({"host": "peer.example"})
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        claimed = (await deliveries.claim([(job, job.accepted_at)]))[job.id]
    assert isinstance(claimed, Claimed)
    result = Result(delivery_id=job.id, token=1, state=DeliveryState.DONE, wait=None, fates=())
    async with ledger_of(nowhere.url, acquire=0.1) as absent, Ledger(absent).running() as ledger:
        async with asyncio.TaskGroup() as tasks:
            finishing = tasks.create_task(_finish(ledger, result))
            await ledger.unclaim([claimed])
            assert not finishing.done()
            ledger.hurry()
        assert isinstance(finishing.result(), Unavailable)
    assert books.states() == ["sending"]


async def _finish(ledger: Ledger, result: Result) -> bool | Unavailable:
    try:
        return await ledger.finish(result)
    except Unavailable as fault:
        return fault
