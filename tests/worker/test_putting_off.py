"""What a consumer does with messages whose time has not come, and how many it has in hand."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from backing.metrics import WorkerMetrics
from backing.postgres.claims import Ordered, Waiting
from backing.stop import Stop
from mail.errors import Unavailable
from tests.worker.house import Books, Post, make_job
from tests.worker.test_consumer import OddLedger, SlowCourier, SwiftCourier, consuming, parts
from tests.worker.test_end_to_end import until
from worker.consumer import Consumer, Pace

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fault", [None, Unavailable("S3: away")])
async def test_what_waits_with_its_body_goes_on_waiting_on_the_queue(
    books: Books, post: Post, fault: Unavailable | None
) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    await post.put(job)

    def prepare(ledger: OddLedger) -> None:
        ledger.claims = {job.id: Waiting(600, stored=False)}

    async with consuming(books, post, SwiftCourier(fault), prepare) as (ledger, _):

        async def put_off() -> bool:
            return ledger.claiming == 1 and await post.counts() == (0, 0)

        await until(put_off)
    # It is a new message, not shown yet; nothing was stored for a delivery that PostgreSQL does not know.
    assert await post.delayed() == 1
    assert books.states() == []


async def test_what_has_an_order_that_waits_for_another_copy_is_taken_up_again(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    await post.put(job)

    def prepare(ledger: OddLedger) -> None:
        ledger.claims = {job.id: Ordered()}

    async with consuming(books, post, SwiftCourier(), prepare) as (ledger, _):

        async def put_back() -> bool:
            return ledger.claiming == 1 and await post.counts() == (0, 1)

        await until(put_back)
        ledger.claims = None

        async def done() -> bool:
            return books.states() == ["done"]

        await until(done)


async def test_more_are_in_hand_once_they_may_be(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    courier, stop = SlowCourier(), Stop()
    await post.put(make_job(), make_job())
    async with parts(books, post) as (inbox, ledger), asyncio.TaskGroup() as tasks:
        consumer = Consumer(
            inbox,
            ledger,
            courier,  # type: ignore[arg-type]
            WorkerMetrics(CollectorRegistry()),
            Pace(concurrency=1, lease_seconds=60, drain_seconds=60),
        )
        tasks.create_task(consumer.run(stop))
        for several in (1, 2):

            async def held(wanted: int = several) -> bool:
                return len(courier.holding) == wanted

            await until(held)
            consumer.resize(2)
        stop.ask()
        stop.ask()


async def test_what_is_stored_at_last_leaves_the_queue(books: Books, post: Post) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    await post.put(job)

    def prepare(ledger: OddLedger) -> None:
        ledger.claims, ledger.brings_back = {job.id: Waiting(600, stored=False)}, True

    async with consuming(books, post, SwiftCourier(), prepare) as (ledger, _):

        async def taken_off() -> bool:
            return ledger.claiming == 1 and await post.counts() == (0, 0)

        await until(taken_off)
    assert await post.delayed() == 0
