"""What an operator orders of mail under way, between workers that claim it and write down what became of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from backing.admin.desk import AdminError, Desk
from backing.admin.messages import Messages
from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.claims import Ended, Fate, Finished, Pending, Report
from backing.postgres.early import REROUTE, Wish
from backing.postgres.orders import UnknownMessage, carry_out
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.job import Job, StoredBody
from mail.states import DELIVERY_TRANSITIONS, ORDERS, SETTLED, TRANSITIONS, DeliveryState, Order, State
from tests.worker.house import ACCOUNT, BODY, Books, Post, ledger_of, make_job
from tests.worker.peer import Peer
from tests.worker.test_deliveries import accepted, begin, claim, claim_one, deferred, result
from tests.worker.test_end_to_end import Scene
from tests.worker.test_routing import rule

pytestmark = pytest.mark.anyio

PLACE = StoredBody("bucket", "bodies/1")
HELD = Fate(n=0, state=State.HELD, reply="held by a rule: look", asked=False)
FAILED = Fate(n=0, state=State.FAILED, code=550, enhanced="5.1.1", reply="unknown", tries=3)


@asynccontextmanager
async def office(url: str) -> AsyncIterator[Messages]:
    async with Database(Settings(database_url=url), Aws("eu-central-1")).opened() as database:
        yield Messages(Desk(database))


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


def delivery(books: Books) -> tuple[Any, ...]:
    """How the only delivery stands: its state; whether it is due, dispatched now, and at its end."""
    (row,) = books.run(
        "SELECT state, coalesce(next_attempt_at <= now(), false), coalesce(dispatch_at <= now(), false),"
        " finished_at IS NOT NULL FROM delivery"
    )
    return row


def recipients(books: Books) -> list[tuple[Any, ...]]:
    return books.run("SELECT state, tries, reply, released FROM recipient ORDER BY n")


def test_orders_bring_back_only_what_nothing_else_can() -> None:
    assert set(ORDERS) == set(Order)
    for fitting, after in ORDERS.values():
        # Where a worker could take the same step, there would be no need of an order.
        assert {state for state in fitting if state in SETTLED} <= {
            state for state in SETTLED if after not in TRANSITIONS[state]
        }
        assert not fitting & {State.SENDING, State.ACCEPTED, State.DELIVERED}
    assert DeliveryState.QUEUED in DELIVERY_TRANSITIONS[DeliveryState.HELD]
    assert DeliveryState.QUEUED in DELIVERY_TRANSITIONS[DeliveryState.DONE]


async def test_what_a_rule_holds_is_sent_once_it_is_let_go_though_the_rule_stays(scene: Scene) -> None:
    async with Peer({"RCPT": ["451 4.2.0 later", "250 ok"]}).serving() as peer, office(scene.books.url) as messages:
        scene.books.account(peer.config)
        rule(scene.books, 1, {"type": "hold", "reason": "to be looked at"})
        job = make_job()
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
            assert scene.books.recipients(job.id) == [(0, "held", None)]
            assert await messages.order(Order.RELEASE, job.id) == [0]
            await scene.settled()
    # Not even after it was put off is it held again.
    assert scene.books.recipients(job.id) == [(0, "accepted", 250)]
    assert [outcome for _, outcome, _ in scene.books.attempts(job.id)] == ["temporary", "accepted"]


async def test_what_failed_is_sent_once_more_and_has_time_for_it(scene: Scene) -> None:
    async with Peer({"RCPT b@far.example": ["550 5.1.1 who", "250 ok"]}).serving() as peer:
        scene.books.account(peer.config)
        job = scene.post.stored_job(make_job("b@far.example", "c@far.example"))
        await scene.post.store(f"bodies/{job.id}", BODY)
        await scene.post.put(job)
        async with office(scene.books.url) as messages, scene.working():
            await scene.settled()
            assert scene.books.recipients(job.id) == [(0, "failed", 550), (1, "accepted", 250)]
            scene.books.run(
                "UPDATE message SET expires_at = now() - interval '1 day', accepted_at = now() - '3 days'::interval"
            )
            assert await messages.order(Order.RETRY, job.id) == [0]
            await scene.settled()
            story = await messages.show(job.id)
    assert [(each.n, each.state) for each in story.recipients] == [(0, "accepted"), (1, "accepted")]
    assert len(peer.messages) == 2
    assert [moment.recipients for moment in story.moments if moment.kind == "attempt"] == [(0, 1), (0,)]


async def test_what_waits_for_its_next_attempt_is_due_at_once_by_order(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        put_off = result(claimed, DeliveryState.DEFERRED, deferred(0, 3600.0), wait=3600.0, body=PLACE)
        assert await deliveries.finish([put_off]) == [True]
        assert delivery(books) == ("deferred", False, False, False)
        assert await messages.order(Order.RETRY, job.id) == [0]
        assert delivery(books) == ("deferred", True, True, False)
        assert recipients(books) == [("queued", 0, "sent once more by an operator; last reply: later", False)]
        again = await claim_one(deliveries, job)
        assert [(each.state, each.wait <= 0, each.tries) for each in again.pending] == [(State.QUEUED, True, 0)]


async def test_a_release_leaves_the_work_to_the_dispatcher(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.HELD, HELD, body=PLACE)])
        assert await claim(deliveries, job) == [Finished()]
        assert await messages.order(Order.RELEASE, job.id) == [0]
        assert delivery(books) == ("queued", True, True, False)
        assert recipients(books) == [("queued", 0, "released by an operator; last reply: held by a rule: look", True)]
        again = await claim_one(deliveries, job)
        assert (again.token, again.stored) == (2, PLACE)
        assert [(each.state, each.released, each.wait <= 0) for each in again.pending] == [(State.QUEUED, True, True)]
        with pytest.raises(AdminError, match=rf"message {job.id} is being sent; try again in a moment"):
            await messages.order(Order.CANCEL, job.id)


async def test_recipients_that_wait_are_woken_with_one_that_is_let_go(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example", "d@far.example")
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        unknown = Fate(n=2, state=State.UNKNOWN, reply="lost", wait=90.0)
        fates = (HELD, deferred(1, wait=60.0), unknown)
        await deliveries.finish([result(claimed, DeliveryState.UNKNOWN, *fates, wait=60.0, body=PLACE)])
        assert await messages.order(Order.RELEASE, job.id, 0) == [0]
        assert delivery(books) == ("unknown", True, True, False)
        again = await claim_one(deliveries, job)
        assert [(each.state, each.wait > 1) for each in again.pending] == [
            (State.QUEUED, False),
            (State.DEFERRED, True),
            (State.UNKNOWN, True),
        ]


async def test_what_is_cancelled_is_sent_no_more_and_its_copy_on_the_queue_is_found_finished(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await begin(deliveries, claimed, 0, 1)
        fates = (accepted(0), deferred(1))
        # Its body still rides on the queue.
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, *fates, wait=60.0)])
        assert await messages.order(Order.CANCEL, job.id) == [1]
        assert delivery(books) == ("done", False, False, True)
        assert recipients(books) == [
            ("accepted", 0, "taken", False),
            ("cancelled", 1, "cancelled by an operator; last reply: later", False),
        ]
        assert await claim(deliveries, job) == [Finished()]
        with pytest.raises(
            AdminError,
            match=f"^every recipient of message {job.id} is accepted, cancelled; cancel is for what is deferred, ",
        ):
            await messages.order(Order.CANCEL, job.id)


async def test_what_is_held_by_order_rests_until_it_is_let_go(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example", "d@far.example")
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        with pytest.raises(AdminError, match=f"message {job.id} is being sent; try again in a moment"):
            await messages.order(Order.HOLD, job.id)
        await begin(deliveries, claimed, 0, 1, 2)
        unknown = Fate(n=2, state=State.UNKNOWN, reply="lost", wait=60.0)
        fates = (accepted(0), deferred(1), unknown)
        await deliveries.finish([result(claimed, DeliveryState.UNKNOWN, *fates, wait=60.0, body=PLACE)])
        assert await messages.order(Order.HOLD, job.id, 1) == [1]
        assert delivery(books) == ("unknown", False, False, False)
        assert await messages.order(Order.HOLD, job.id) == [2]
        assert delivery(books) == ("held", False, False, False)
        assert [row[:3] for row in recipients(books)] == [
            ("accepted", 0, "taken"),
            ("held", 1, "held by an operator; last reply: later"),
            ("held", 0, "held by an operator; last reply: lost"),
        ]
        assert await claim(deliveries, job) == [Finished()]
        assert await messages.order(Order.RELEASE, job.id, 1) == [1]
        assert delivery(books) == ("queued", True, True, False)
        again = await claim_one(deliveries, job)
        assert [(each.n, each.state) for each in again.pending] == [(1, State.QUEUED), (2, State.HELD)]


async def test_what_is_left_goes_through_the_provider_that_an_operator_names(scene: Scene) -> None:
    async with (
        Peer({}).serving() as peer,
        Peer({}).serving() as other,
        office(scene.books.url) as messages,
    ):
        scene.books.account(peer.config)
        second = new_id()
        scene.books.run(
            "INSERT INTO provider (id, account_id, name, kind, config, allowed_domains)"
            " VALUES (%s, %s, 'second', 'smtp', %s, '{shop.example}'),"
            " (%s, NULL, 'picky', 'smtp', '{}', '{a.example}')",
            second,
            ACCOUNT,
            Jsonb(other.config),
            new_id(),
        )
        job = scene.post.stored_job(make_job("b@near.example", "c@far.example"))
        await scene.post.store(f"bodies/{job.id}", BODY)
        await scene.post.put(job)
        rule(scene.books, 1, {"type": "hold", "reason": "to be looked at"}, recipient_domain=["near.example"])
        async with scene.working():
            await scene.settled()
            assert scene.books.recipients(job.id)[0][1] == "held"
            for provider, why in (
                ("nobody", "there is no provider 'nobody' that the account may use and that is enabled"),
                ("picky", "provider 'picky' does not send for shop.example"),
            ):
                with pytest.raises(AdminError, match=why):
                    await messages.direct(Wish(REROUTE, job.id, None, provider))
            # By the rules, which hold it as before.
            assert await messages.direct(Wish(REROUTE, job.id)) == [0]
            await scene.settled()
            assert scene.books.recipients(job.id)[0][1] == "held"
            assert await messages.direct(Wish(REROUTE, job.id, None, "second")) == [0]
            await scene.settled()
    assert scene.books.recipients(job.id) == [(0, "accepted", 250), (1, "accepted", 250)]
    assert (len(peer.messages), len(other.messages)) == (1, 1)


async def test_what_is_held_stays_so_when_the_rest_is_cancelled(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        result_ = result(claimed, DeliveryState.DEFERRED, HELD, deferred(1), wait=60.0, body=PLACE)
        await deliveries.finish([result_])
        assert await messages.order(Order.CANCEL, job.id, 1) == [1]
        assert delivery(books) == ("held", False, False, False)
        assert await messages.order(Order.CANCEL, job.id) == [0]
        assert delivery(books) == ("done", False, False, True)


async def test_an_order_that_cannot_be_carried_out_changes_nothing(books: Books) -> None:
    books.account(None)
    job, copy = make_job(dedupe=b"k" * 32), make_job(dedupe=b"k" * 32)
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await claim(deliveries, copy)
        await deliveries.finish([result(claimed, DeliveryState.DONE, FAILED)])
        for order, n, message, why in (
            (Order.RETRY, None, job.id, f"message {job.id} cannot be sent once more: its body is not stored"),
            (Order.RETRY, 7, job.id, f"message {job.id} has no recipient 7"),
            (Order.RELEASE, 0, job.id, f"recipient 0 of message {job.id} is failed; release is for what is held"),
            (
                Order.RETRY,
                None,
                copy.id,
                f"message {copy.id} goes nowhere itself: it is a duplicate of {job.id}",
            ),
            (Order.CANCEL, None, (nobody := new_id()), f"there is no message {nobody}"),
        ):
            with pytest.raises(AdminError) as refused:
                await messages.order(order, message, n)
            assert str(refused.value) == why
        assert delivery(books) == ("done", False, False, True)
        assert recipients(books) == [("failed", 3, "unknown", False)]


async def test_another_accounts_message_is_as_unknown_as_none(books: Books) -> None:
    books.account(None)
    job, nobody = make_job(), new_id()
    async with (
        ledger_of(books.url) as deliveries,
        Database(Settings(database_url=books.url), Aws("eu-central-1")).opened() as database,
    ):
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.HELD, HELD, body=PLACE)])
        for message in (job.id, nobody):
            with pytest.raises(UnknownMessage, match=f"^there is no message {message}$"):
                async with database.transaction() as connection:
                    await carry_out(connection, Order.RELEASE, message, account_id=new_id())
        async with database.transaction() as connection:
            assert await carry_out(connection, Order.RELEASE, job.id, account_id=ACCOUNT) == [0]


async def test_of_two_operators_one_cancels_and_the_other_is_told(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, deferred(0), wait=60.0, body=PLACE)])
        orders = [messages.order(Order.CANCEL, job.id) for _ in range(2)]
        done = await asyncio.gather(*orders, return_exceptions=True)
        assert sorted(type(each).__name__ for each in done) == ["Conflict", "list"]


async def test_one_that_is_let_go_is_so_whatever_becomes_of_its_worker(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, office(books.url) as messages:
        claimed = await claim_one(deliveries, job)
        await deliveries.finish([result(claimed, DeliveryState.HELD, HELD, body=PLACE)])
        await messages.order(Order.RELEASE, job.id)
        await begin(deliveries, await claim_one(deliveries, job))
        books.lose_leases()
        (pending,) = (await claim_one(deliveries, job)).pending
        assert (pending.state, pending.released) == (State.UNKNOWN, True)
        assert Pending(0).released is False


EXPIRED = Fate(n=0, state=State.EXPIRED, reply="too late", asked=False, dsn="failed")


@pytest.mark.parametrize(
    ("fate", "ended", "what"),
    [
        (FAILED, (Ended(1, "permanent", 550, "5.1.1", "unknown"),), ("attempt", "permanent", "unknown", False)),
        (EXPIRED, (), ("decided", "expired", "too late", False)),
    ],
)
async def test_a_report_is_told_of_before_and_after_it_is_queued(
    books: Books, fate: Fate, ended: tuple[Ended, ...], what: tuple[object, ...]
) -> None:
    books.account(None)
    job, sent, report = make_job(), list[Job](), Report(new_id(), "a@shop.example", b"Subject: failed\r\n\r\n")

    async def send(jobs: Sequence[Job]) -> list[bool]:
        sent.extend(jobs)
        return [True] * len(jobs)

    async with ledger_of(books.url) as deliveries, office(books.url) as messages:

        async def told() -> list[tuple[object, ...]]:
            moments = (await messages.show(job.id)).moments[3:]
            return sorted((each.kind, each.outcome, each.words, each.message == report.id) for each in moments)

        claimed = await claim_one(deliveries, job)
        if ended:
            await begin(deliveries, claimed)
        await deliveries.finish([result(claimed, DeliveryState.DONE, fate, ended=ended, report=report)])
        assert await told() == [what, ("report", "waits to be queued", "a@shop.example", True)]
        await deliveries.report(send, 10)
        await claim(deliveries, *sent)
        assert await told() == [what, ("report", "queued", "a@shop.example", True)]
