"""Orders for mail that no worker has seen yet: noted by its id, and obeyed before anything of it is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from structlog.testing import capture_logs

from backing.admin.desk import AdminError, Desk
from backing.admin.messages import Messages
from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.audit import Deed
from backing.postgres.claims import Claimed, Finished, Ordered, Waiting
from backing.postgres.deliveries import SQL
from backing.postgres.delivery_rows import as_json, job_row
from backing.postgres.early import REROUTE, Wish
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.job import Job
from mail.states import Order
from tests.waiting import until
from tests.worker.house import ACCOUNT, BODY, Books, Post, ledger_of, make_job
from tests.worker.peer import Peer
from tests.worker.test_deliveries import claim
from tests.worker.test_end_to_end import Scene
from tests.worker.test_routing import rule
from worker.ledger import Ledger

pytestmark = pytest.mark.anyio

DEED = Deed(account=None, actor="operator", action="message.hold", subject="x", request="r-1", peer="p")
SENT = BODY.replace(b"\r\n.", b"\r\n..")


@asynccontextmanager
async def desk(url: str) -> AsyncIterator[Messages]:
    async with Database(Settings(database_url=url), Aws("eu-central-1")).opened() as database:
        yield Messages(Desk(database, DEED))


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


def noted(books: Books) -> list[tuple[Any, ...]]:
    return books.run("SELECT message_id, account_id, what FROM early_order ORDER BY id")


def told(books: Books, job: Job) -> list[tuple[Any, ...]]:
    return books.run("SELECT state, ordered, reply FROM recipient WHERE message_id = %s ORDER BY n", job.id)


async def test_what_is_ordered_to_be_held_is_stored_and_sent_once_it_is_let_go(scene: Scene) -> None:
    async with Peer().serving() as peer, desk(scene.books.url) as messages:
        scene.books.account(peer.config)
        held, cancelled, sent = make_job(), make_job(), make_job()
        assert await messages.direct(Wish(Order.HOLD, held.id), ACCOUNT) is None
        assert await messages.direct(Wish(Order.CANCEL, cancelled.id), ACCOUNT) is None
        await scene.post.put(held, cancelled, sent)
        async with scene.working():
            await scene.settled()
            assert [told(scene.books, job) for job in (held, cancelled)] == [
                [("held", "hold", "held by an operator")],
                [("cancelled", "cancel", "cancelled by an operator")],
            ]
            assert (len(peer.messages), await scene.post.stored()) == (1, [f"bodies/{held.id}"])
            assert noted(scene.books) == []
            assert await messages.direct(Wish(Order.RELEASE, held.id), ACCOUNT) == [0]
            await scene.settled()
    assert peer.messages == [SENT, SENT]
    assert [scene.books.recipients(job.id) for job in (held, cancelled, sent)] == [
        [(0, "accepted", 250)],
        [(0, "cancelled", None)],
        [(0, "accepted", 250)],
    ]


async def test_what_is_rerouted_before_it_comes_goes_that_way_though_rules_hold_it(scene: Scene) -> None:
    async with Peer().serving() as peer, Peer().serving() as other, desk(scene.books.url) as messages:
        scene.books.account(other.config)
        scene.books.run(
            "INSERT INTO provider (id, account_id, name, kind, config)"
            " SELECT %s, account_id, 'second', kind, config || jsonb_build_object('port', %s) FROM provider",
            new_id(),
            peer.config["port"],
        )
        rule(scene.books, 1, {"type": "hold", "reason": "to be looked at"})
        job, gone = make_job(), make_job()
        assert await messages.direct(Wish(REROUTE, job.id, None, "second"), ACCOUNT) is None
        assert await messages.direct(Wish(REROUTE, gone.id, None, "second")) is None
        with pytest.raises(AdminError, match="there is no provider 'third' that the account may use"):
            await messages.direct(Wish(REROUTE, job.id, None, "third"), ACCOUNT)
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
            # What an operator named may be there no more; then rules decide.
            scene.books.run("UPDATE provider SET enabled = false WHERE name = 'second'")
            await scene.post.put(gone)
            await scene.settled()
    assert [scene.books.recipients(each.id)[0][1] for each in (job, gone)] == ["accepted", "held"]
    assert (len(peer.messages), len(other.messages)) == (1, 0)


async def test_orders_are_carried_out_in_their_order_each_for_its_recipients(books: Books) -> None:
    books.account(None)
    job = make_job("b@far.example", "c@far.example", "d@far.example")
    async with ledger_of(books.url) as deliveries, desk(books.url) as messages:
        for wish in (
            Wish(Order.HOLD, job.id),
            Wish(Order.RELEASE, job.id, 1),
            Wish(Order.CANCEL, job.id, 2),
            Wish(Order.HOLD, job.id, 7),
        ):
            assert await messages.direct(wish, ACCOUNT) is None
        with capture_logs() as logs:
            claims = await Ledger(deliveries).claim([(job, job.accepted_at)])
    claimed = claims[job.id]
    assert isinstance(claimed, Claimed)
    assert [(each.n, each.state, each.released) for each in claimed.pending] == [
        (0, "held", False),
        (1, "queued", True),
    ]
    assert [row[:2] for row in told(books, job)] == [("held", "hold"), ("queued", "release"), ("cancelled", "cancel")]
    why = f"hold: message {job.id} has no recipient 7"
    assert [each["reason"] for each in logs if each["event"] == "order not carried out"] == [why]


async def test_an_order_meets_mail_of_its_own_account_alone(books: Books) -> None:
    books.account(None)
    job, other = make_job(), new_id()
    async with ledger_of(books.url) as deliveries, desk(books.url) as messages:
        assert await messages.direct(Wish(Order.CANCEL, job.id), other) is None
        assert isinstance((await claim(deliveries, job))[0], Claimed)
        # Nor does it once the message is known.
        assert await messages.direct(Wish(Order.HOLD, job.id), other) is None
    assert told(books, job) == [("queued", None, None)]
    assert noted(books) == [(job.id, other, "cancel"), (job.id, other, "hold")]


async def test_an_operators_order_is_noted_under_the_account_once_it_is_known(books: Books) -> None:
    books.account(None)
    job, tenants = make_job(), make_job()
    async with ledger_of(books.url) as deliveries, desk(books.url) as messages:
        await messages.direct(Wish(Order.HOLD, job.id))
        await messages.direct(Wish(Order.HOLD, tenants.id), ACCOUNT)
        assert await claim(deliveries, job, tenants) == [Ordered(), Ordered()]
        assert [await deliveries.obey(each) for each in (job, tenants)] == [[], []]
        assert await claim(deliveries, job, tenants) == [Waiting(0.0, stored=False)] * 2
    # The first two are those of the desk, when it was ordered.
    logged = books.run("SELECT account_id, actor, action, subject, request, peer FROM audit_log ORDER BY id")
    assert [row[0] for row in logged[:2]] == [None, ACCOUNT]
    assert logged[2:] == [(ACCOUNT, "operator", "message.hold", str(job.id), "r-1", "p")]


async def test_a_later_order_comes_after_what_was_noted(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries, desk(books.url) as messages:
        await messages.direct(Wish(Order.HOLD, job.id), ACCOUNT)
        # Its worker dies here.
        assert await claim(deliveries, job) == [Ordered()]
        assert await messages.direct(Wish(Order.RELEASE, job.id), ACCOUNT) == [0]
        assert noted(books) == []
        (claimed,) = await claim(deliveries, job)
    assert isinstance(claimed, Claimed)
    assert [(each.state, each.released) for each in claimed.pending] == [("queued", True)]


async def test_a_duplicate_goes_nowhere_whatever_was_ordered(books: Books) -> None:
    books.account(None)
    first, second = make_job(dedupe=b"k" * 32), make_job(dedupe=b"k" * 32)
    async with ledger_of(books.url) as deliveries, desk(books.url) as messages:
        await messages.direct(Wish(Order.CANCEL, first.id), ACCOUNT)
        await messages.direct(Wish(Order.HOLD, second.id), ACCOUNT)
        ledger = Ledger(deliveries)
        claims = await ledger.claim([(job, job.accepted_at) for job in (first, second)])
    assert (claims[first.id], type(claims[second.id]).__name__) == (Finished(), "Duplicate")


def written(connection: psycopg.Connection[Any], job: Job) -> None:
    """Do what a worker does with a job in its claim, without the end."""
    values = {"ids": [job.id], "jobs": as_json([job_row(job, datetime.now(UTC))]), "expiry": 60}
    connection.execute(SQL["await_orders"], values)
    connection.execute(SQL["record"], values)


async def until_waits(books: Books) -> None:
    blocked = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    await until(lambda: books.run(blocked) == [(1,)])


async def test_an_order_at_the_moment_of_writing_down_finds_the_message(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with desk(books.url) as messages:
        with psycopg.connect(books.url) as worker:
            written(worker, job)
            async with asyncio.TaskGroup() as tasks:
                ordering = tasks.create_task(messages.direct(Wish(Order.HOLD, job.id), ACCOUNT))
                await until_waits(books)
                worker.commit()
        assert ordering.result() == [0]
    assert (told(books, job), noted(books)) == ([("held", "hold", "held by an operator")], [])


async def test_a_claim_at_the_moment_of_an_order_obeys_it(books: Books) -> None:
    books.account(None)
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        with psycopg.connect(books.url) as operator:
            operator.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s::uuid::text, 15))", [job.id])
            operator.execute(
                "INSERT INTO early_order (message_id, account_id, what, actor, request, peer, expires_at)"
                " VALUES (%s, %s, 'cancel', 'a', 'r', 'p', now() + interval '1 day')",
                [job.id, ACCOUNT],
            )
            async with asyncio.TaskGroup() as tasks:
                claiming = tasks.create_task(Ledger(deliveries).claim([(job, job.accepted_at)]))
                await until_waits(books)
                operator.commit()
        assert claiming.result() == {job.id: Finished()}
    assert told(books, job) == [("cancelled", "cancel", "cancelled by an operator")]


@pytest.mark.parametrize("message", [UUID(int=7), UUID("01990000-0000-7000-8000-000000000001")])
async def test_what_cannot_be_on_its_way_is_unknown(books: Books, message: UUID) -> None:
    async with desk(books.url) as messages:
        with pytest.raises(AdminError, match=f"^there is no message {message}$"):
            await messages.direct(Wish(Order.HOLD, message))
    assert (noted(books), books.run("SELECT * FROM audit_log")) == ([], [])
