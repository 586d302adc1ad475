"""Orders for mail that is written down while its body rides on the queue: S3 was away, or a worker gave it back."""

import pytest

from backing.postgres.claims import Finished, Waiting
from mail.states import DeliveryState, Order, State
from tests.worker.house import Books, ledger_of, make_job
from tests.worker.test_deliveries import claim, claim_one, deferred, result
from tests.worker.test_orders import FAILED, HELD, PLACE, delivery, office

pytestmark = pytest.mark.anyio


async def test_mail_that_rides_on_the_queue_is_held_and_stored_when_its_copy_comes(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, deferred(0), wait=60.0)])
        assert await messages.order(Order.HOLD, job.id) == [0]
        assert delivery(books) == ("held", False, False, False)
        assert await claim(deliveries, job) == [Waiting(0.0, stored=False)]
        assert await deliveries.stored(job, PLACE)
        assert await claim(deliveries, job) == [Finished()]
        assert await messages.order(Order.RELEASE, job.id) == [0]
        assert delivery(books) == ("queued", True, True, False)
        assert (await claim_one(deliveries, job)).stored == PLACE


@pytest.mark.parametrize("order", [Order.HOLD, Order.CANCEL])
async def test_what_a_worker_gave_back_unsent_is_held_or_cancelled(books: Books, order: Order) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        assert await deliveries.unclaim([await claim_one(deliveries, job)]) == [True]
        assert await messages.order(order, job.id) == [0]
        held = order is Order.HOLD
        assert await claim(deliveries, job) == [Waiting(0.0, stored=False) if held else Finished()]


async def test_what_is_let_go_before_its_copy_comes_is_sent_with_that_copy(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.HELD, HELD)])
        assert await messages.order(Order.RELEASE, job.id) == [0]
        # There is no body that a dispatcher could name.
        assert delivery(books) == ("queued", True, False, False)
        again = await claim_one(deliveries, job)
        assert (again.stored, [(each.state, each.released) for each in again.pending]) == (None, [(State.QUEUED, True)])


async def test_what_is_let_go_while_its_body_is_being_stored_is_sent_by_the_dispatcher(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.HELD, HELD)])
        assert await claim(deliveries, job) == [Waiting(0.0, stored=False)]
        assert await messages.order(Order.RELEASE, job.id) == [0]
        assert await deliveries.stored(job, PLACE)
        assert delivery(books) == ("queued", True, True, False)


async def test_of_mail_that_rides_on_the_queue_what_failed_is_sent_once_more_with_the_rest(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, FAILED, deferred(1), wait=60.0)])
        assert await messages.order(Order.RETRY, job.id, 0) == [0]
        again = await claim_one(deliveries, job)
        assert [(each.n, each.state) for each in again.pending] == [(0, State.QUEUED), (1, State.DEFERRED)]
