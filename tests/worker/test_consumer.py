"""The loop's edges: what is given back, and what waits for the database or the queue."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from backing.metrics import WorkerMetrics
from backing.postgres.claims import Claimed, Result
from backing.sqs import Queue
from backing.stop import Stop
from mail.errors import Unavailable
from mail.job import Job, StoredBody
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


class OddLedger:
    """A real ledger, which a test keeps waiting, or has answer as real ones do seldom."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.claim_fault: Exception | None = None
        self.finish_fault: Exception | None = None
        self.claims: dict[Any, Any] | None = None
        self.finishing, self.claiming, self.hurried, self.brings_back = 0, 0, False, False
        self.may_claim, self.may_finish = asyncio.Event(), asyncio.Event()
        self.may_claim.set()
        self.may_finish.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def claim(self, jobs: Sequence[tuple[Job, datetime]]) -> dict[Any, Any]:
        self.claiming += 1
        fault, self.claim_fault = self.claim_fault, None
        if fault:
            raise fault
        if self.claims is not None:
            return self.claims
        claimed = await self._ledger.claim(jobs)
        await self.may_claim.wait()
        return dict(claimed)

    async def finish(self, result: Result) -> bool:
        self.finishing += 1
        if self.finish_fault:
            raise self.finish_fault
        await self.may_finish.wait()
        return await self._ledger.finish(result)

    async def stored(self, job: Job, place: StoredBody) -> bool:
        return self.brings_back or await self._ledger.stored(job, place)

    def hurry(self) -> None:
        self.hurried = True
        self._ledger.hurry()


@dataclass
class SwiftCourier:
    """Has a result at once, without having sent anything; keeps no bodies."""

    fault: Exception | None = None

    async def deliver(self, errand: Errand) -> Result:
        claim = errand.claim
        return Result(delivery_id=claim.delivery_id, token=claim.token, state=DeliveryState.DONE, wait=None, fates=())

    async def park(self, _: Errand, result: Result) -> Result:
        return result

    async def store(self, job: Job) -> StoredBody:
        if self.fault:
            raise self.fault
        return StoredBody("bodies", str(job.id))


@asynccontextmanager
async def consuming(
    books: Books, post: Post, courier: object, prepare: Any = lambda _: None
) -> AsyncIterator[tuple[OddLedger, Stop]]:
    """A worker with an odd ledger that works until the block ends, if it was not told to stop before."""
    async with parts(books, post) as (inbox, ledger):
        odd, stop = OddLedger(ledger), Stop()
        prepare(odd)
        metrics = WorkerMetrics(CollectorRegistry())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Consumer(inbox, odd, courier, metrics, PACE).run(stop))  # type: ignore[arg-type]
            yield odd, stop
            if not stop.soon.is_set():
                stop.ask()


@pytest.mark.requirement("SC-10.3")
async def test_what_is_claimed_only_when_it_is_to_stop_is_given_back(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    await post.put(job)
    courier = SlowCourier()
    async with consuming(books, post, courier, lambda odd: odd.may_claim.clear()) as (ledger, stop):

        async def claimed() -> bool:
            return books.states() == ["sending"]

        await until(claimed)
        stop.ask()
        ledger.may_claim.set()
    assert courier.holding == []
    assert books.delivery(job.id) == ("queued", 0, 0, 1)
    assert await post.counts() == (1, 0)


@pytest.mark.requirement("SC-10.3")
async def test_a_result_under_way_is_written_down_even_when_it_is_to_stop_at_once(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    await post.put(make_job())
    with capture_logs() as lines:
        async with consuming(books, post, SwiftCourier(), lambda odd: odd.may_finish.clear()) as (ledger, stop):

            async def finishing() -> bool:
                return ledger.finishing == 1

            await until(finishing)
            stop.ask()
            stop.ask()

            async def cut_off() -> bool:
                return ledger.hurried

            await until(cut_off)
            ledger.may_finish.set()
    assert [line["event"] for line in lines if line["event"] in {"cut off", "drained"}] == ["drained"]
    assert books.states() == ["done"]
    assert await post.counts() == (0, 0)


async def test_a_result_that_cannot_be_written_down_is_told_and_left_to_its_lease(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    await post.put(make_job())

    def prepare(odd: OddLedger) -> None:
        odd.finish_fault = Unavailable("PostgreSQL: away")

    with capture_logs() as lines:
        async with consuming(books, post, SwiftCourier(), prepare):

            async def told() -> bool:
                return any(line["event"] == "result not recorded" for line in lines)

            await until(told)
    assert await post.counts() == (0, 1)


@pytest.mark.parametrize("odd", ["breaks", "says nothing"])
async def test_a_claim_that_nobody_foresaw_costs_its_batch_only(books: Books, post: Post, odd: str) -> None:
    books.account({"host": "peer.example"})
    await post.put(make_job())

    def prepare(ledger: OddLedger) -> None:
        if odd == "breaks":
            ledger.claim_fault = RuntimeError("a bug")
        else:
            ledger.claims = {}

    said = {"breaks": "batch failed", "says nothing": "claim without an answer"}[odd]
    with capture_logs() as lines:
        async with consuming(books, post, SwiftCourier(), prepare) as (ledger, _):

            async def told() -> bool:
                return any(line["event"] == said for line in lines)

            await until(told)
            ledger.claims = None
            await post.put(make_job())

            async def done() -> bool:
                return books.states() == ["done"]

            await until(done)
    assert await post.counts() == (0, 1)


async def test_what_nobody_can_read_is_no_batch(books: Books, post: Post) -> None:
    async with parts(books, post) as (inbox, _):
        await inbox._queue.put("no job")  # noqa: SLF001 - the queue of this test
    with capture_logs() as lines:
        async with consuming(books, post, SwiftCourier()) as (ledger, _):

            async def told() -> bool:
                return any(line["event"] == "job refused" for line in lines)

            await until(told)
    assert ledger.claiming == 0
