"""Claims and results against a real PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backing.ids import new_id
from backing.postgres.claims import (
    Begin,
    Claimed,
    Duplicate,
    Ended,
    Fate,
    Finished,
    Leased,
    Pending,
    Report,
    Result,
    Waiting,
    Wishes,
)
from backing.postgres.deliveries import Deliveries
from mail.delivery import OnUnknown
from mail.errors import MalformedJob
from mail.job import Job, Recipient, StoredBody
from mail.states import DeliveryState, State
from tests.worker.house import ACCOUNT, Books, ledger_of, make_job

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
PLACE = StoredBody("bucket", "bodies/1")
PROVIDER = new_id()


async def claim(deliveries: Deliveries, *jobs: Job) -> list[object]:
    claims = await deliveries.claim([(job, job.accepted_at) for job in jobs])
    return [claims[job.id] for job in jobs]


async def claim_one(deliveries: Deliveries, job: Job) -> Claimed:
    (claimed,) = await claim(deliveries, job)
    assert isinstance(claimed, Claimed), claimed
    return claimed


async def begin(deliveries: Deliveries, claimed: Claimed, *ns: int, n: int = 1) -> bool:
    (done,) = await deliveries.begin([Begin(claimed.delivery_id, claimed.token, n, PROVIDER, ns or (0,))])
    return done


def result(claimed: Claimed, state: DeliveryState, *fates: Fate, wait: float | None = None, **more: Any) -> Result:
    return Result(delivery_id=claimed.delivery_id, token=claimed.token, state=state, wait=wait, fates=fates, **more)


def accepted(n: int) -> Fate:
    return Fate(n=n, state=State.ACCEPTED, code=250, enhanced="2.0.0", reply="taken", provider_id=PROVIDER)


def deferred(n: int, wait: float = 60.0, tries: int = 1) -> Fate:
    return Fate(n=n, state=State.DEFERRED, code=451, enhanced="4.0.0", reply="later", tries=tries, wait=wait)


async def test_a_first_claim_tells_all_that_sending_needs(books: Books) -> None:
    books.account({"host": "peer.example"})
    books.run("UPDATE account SET expiry_seconds = 600, retry_seconds = '{5,9}', delay_notice_seconds = 7")
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
    assert claimed == Claimed(
        delivery_id=job.id,
        token=1,
        attempts=0,
        expires_at=job.accepted_at + timedelta(seconds=600),
        pending=(Pending(0), Pending(1)),
        wishes=Wishes(retry_seconds=(5, 9), send_dsn=False, delay_notice_seconds=7),
    )
    assert books.attempts(job.id) == []


async def test_suppressed_recipients_are_told_with_the_claim(books: Books) -> None:
    books.account({"host": "peer.example"})
    books.run(
        "INSERT INTO suppression (account_id, address, reason, source, expires_at) VALUES"
        " (%s, 'b@far.example', 'bounce', 'x', NULL), (%s, 'c@far.example', 'bounce', 'x', now() - interval '1 s')",
        ACCOUNT,
        ACCOUNT,
    )
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, make_job("B@Far.Example", "c@far.example", "d@far.example"))
    assert [each.suppressed for each in claimed.pending] == ["bounce", None, None]


async def test_two_workers_claim_one_message_once(books: Books) -> None:
    books.account({"host": "peer.example"})
    jobs = [make_job() for _ in range(10)]
    async with ledger_of(books.url, "w1") as one, ledger_of(books.url, "w2") as two:
        for _ in range(5):
            first, second = await asyncio.gather(claim(one, *jobs), claim(two, *reversed(jobs)))
            pairs = list(zip(first, reversed(second), strict=True))
            assert all({type(each) for each in pair} in ({Claimed, Leased}, {Leased}) for pair in pairs), pairs
    assert {books.delivery(job.id) for job in jobs} == {("sending", 0, 0, 1)}


async def test_a_result_is_written_once_and_only_under_its_lease(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        old = await claim_one(deliveries, job)
        assert await begin(deliveries, old, 0)
        books.lose_leases()
        new = await claim_one(deliveries, job)
        assert (new.token, new.attempts) == (old.token + 1, 1)
        assert new.pending == (Pending(0, State.UNKNOWN, provider_id=PROVIDER), Pending(1))

        late = result(old, DeliveryState.DONE, accepted(0), accepted(1))
        assert await deliveries.finish([late]) == [False]
        assert not await begin(deliveries, old, 1, n=2)
        assert await deliveries.extend([old, new]) == [False, True]
        assert books.recipients(job.id) == [(0, "unknown", None), (1, "queued", None)]
        assert books.attempts(job.id) == [(1, "unknown", None)]

        assert await begin(deliveries, new, 0, 1, n=2)
        failed = Fate(n=1, state=State.FAILED, code=550, enhanced="5.1.1", reply="no such user", tries=2)
        ended = Ended(2, "accepted", 250, "2.0.0", "taken", None, "id-1")
        good = result(new, DeliveryState.DONE, accepted(0), failed, ended=(ended,))
        assert await deliveries.finish([good, late]) == [True, False]
        rows = books.recipients(job.id), books.delivery(job.id), books.attempts(job.id)
        assert rows == (
            [(0, "accepted", 250), (1, "failed", 550)],
            ("done", 2, 2, 2),
            [(1, "unknown", None), (2, "accepted", 250)],
        )
        assert await deliveries.finish([good, late]) == [False, False]
        assert rows == (books.recipients(job.id), books.delivery(job.id), books.attempts(job.id))
        assert await claim(deliveries, job) == [Finished()]
    assert books.run("SELECT n, ns, provider_message_id FROM attempt ORDER BY n") == [
        (1, [0], None),
        (2, [0, 1], "id-1"),
    ]


async def test_a_second_submission_goes_nowhere(books: Books) -> None:
    books.account({"host": "peer.example"})
    first, again, other = make_job(dedupe=KEY), make_job(dedupe=KEY), make_job(dedupe=b"o" * 32)
    elsewhere = make_job(dedupe=KEY, account_id=make_job().id)
    async with ledger_of(books.url) as deliveries:
        claims = await claim(deliveries, again, first, other, elsewhere)
        owner, copy = sorted((first, again), key=lambda job: (job.accepted_at, job.id))
        by_id = dict(zip([again.id, first.id, other.id, elsewhere.id], claims, strict=True))
        assert by_id[copy.id] == Duplicate(owner.id)
        assert [type(by_id[job.id]) for job in (owner, other, elsewhere)] == [Claimed] * 3
        assert await claim(deliveries, copy) == [Duplicate(owner.id)]
        assert await claim(deliveries, third := make_job(dedupe=KEY)) == [Duplicate(owner.id)]
        assert isinstance((await claim(deliveries, owner))[0], Leased)
    assert books.delivery(copy.id) == ()
    assert books.run("SELECT duplicate_of FROM message WHERE id = %s", third.id) == [(owner.id,)]


async def test_the_same_submission_a_day_later_is_a_new_one(books: Books) -> None:
    books.account({"host": "peer.example"})
    now = datetime.now(UTC)
    first = make_job(dedupe=KEY, accepted_at=now - timedelta(hours=24))
    soon = make_job(dedupe=KEY, accepted_at=now - timedelta(minutes=1))
    later = make_job(dedupe=KEY, accepted_at=now)
    async with ledger_of(books.url) as deliveries:
        claims = [(await claim(deliveries, job))[0] for job in (first, soon, later)]
        assert [type(each) for each in claims] == [Claimed, Duplicate, Claimed]
        assert isinstance((await claim(deliveries, first))[0], Leased)
        books.run("UPDATE submission SET expires_at = now() - interval '25 hours'")
        assert (await deliveries.forget_submissions(10), await deliveries.forget_submissions(10)) == (1, 0)


async def test_two_workers_with_the_same_submission_deliver_one(books: Books) -> None:
    books.account({"host": "peer.example"})
    async with ledger_of(books.url, "w1") as one, ledger_of(books.url, "w2") as two:
        for n in range(5):
            key = bytes([n]) * 32
            pair = make_job(dedupe=key), make_job(dedupe=key)
            first, second = await asyncio.gather(claim(one, pair[0]), claim(two, pair[1]))
            assert {type(first[0]), type(second[0])} == {Claimed, Duplicate}


async def test_only_what_a_lost_worker_may_have_sent_is_in_doubt(books: Books) -> None:
    books.account({"host": "peer.example"}, on_unknown="hold")
    begun, unbegun = make_job("b@far.example", "c@far.example", "d@far.example"), make_job()
    async with ledger_of(books.url) as deliveries:
        first, _ = await claim(deliveries, begun, unbegun)
        assert isinstance(first, Claimed)
        assert await begin(deliveries, first, 0, 2)
        assert [type(each) for each in await claim(deliveries, begun, unbegun)] == [Leased] * 2
        books.lose_leases()
        claims = await claim(deliveries, begun, unbegun)
    assert [(each.wishes.on_unknown, each.pending) for each in claims if isinstance(each, Claimed)] == [
        (
            OnUnknown.HOLD,
            (
                Pending(0, State.UNKNOWN, provider_id=PROVIDER),
                Pending(1),
                Pending(2, State.UNKNOWN, provider_id=PROVIDER),
            ),
        ),
        (OnUnknown.HOLD, (Pending(0),)),
    ]
    assert books.attempts(begun.id) == [(1, "unknown", None)]
    assert books.attempts(unbegun.id) == []


async def test_what_waits_is_not_claimed_before_it_is_due(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example", "d@far.example")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        fates = (deferred(0), accepted(1), deferred(2, wait=900.0, tries=0))
        waits = result(claimed, DeliveryState.DEFERRED, *fates, wait=60.0, body=PLACE)
        assert await deliveries.finish([waits]) == [True]
        (waiting,) = await claim(deliveries, job)
        assert isinstance(waiting, Waiting)
        assert 55 < waiting.seconds <= 60
        assert waiting.stored
        books.run("UPDATE delivery SET next_attempt_at = now()")
        again = await claim_one(deliveries, job)
    assert [(each.n, each.state, each.tries) for each in again.pending] == [(0, "deferred", 1), (2, "deferred", 0)]
    assert 800 < again.pending[1].wait <= 900
    assert again.stored == PLACE


async def test_one_that_is_held_keeps_its_place_beside_the_others(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        held = Fate(n=0, state=State.HELD, reply="as a rule says", asked=False)
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, held, deferred(1), wait=0.0, body=PLACE)])
        again = await claim_one(deliveries, job)
    assert [(each.n, each.state) for each in again.pending] == [(0, State.HELD), (1, State.DEFERRED)]


async def test_the_body_of_what_waits_is_stored_later(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        assert not await deliveries.stored(job._replace(account_id=new_id()), PLACE)
        await deliveries.finish([result(claimed, DeliveryState.DEFERRED, deferred(0), wait=60.0)])
        assert await deliveries.stored(job, PLACE)
        assert not await deliveries.stored(job, PLACE)
        (waiting,) = await claim(deliveries, job)
    assert isinstance(waiting, Waiting)
    assert waiting.stored
    assert books.run("SELECT dispatch_at = next_attempt_at FROM delivery") == [(True,)]


async def test_a_report_is_sent_once_it_is_written_down(books: Books) -> None:
    books.account({"host": "peer.example"})
    job, sent = make_job(), list[Job]()

    async def take(jobs: Sequence[Job]) -> list[bool]:
        sent.extend(jobs)
        return [True] * len(jobs)

    failed = Fate(n=0, state=State.FAILED, code=550, reply="no", dsn="failed")
    report = Report(new_id(), "a@shop.example", b"Subject: failed\r\n\r\nsorry\r\n")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        assert await deliveries.report(take, 10) == 0
        written = result(claimed, DeliveryState.DONE, failed, report=report)
        assert await deliveries.finish([replace(written, token=0)]) == [False]
        assert await deliveries.report(take, 10) == 0
        assert await deliveries.finish([written]) == [True]
        assert await deliveries.report(take, 10) == 1
        assert await deliveries.report(take, 10) == 0
        assert isinstance((await claim(deliveries, sent[0]))[0], Claimed)
    assert [(each.id, each.mail_from, each.recipients, each.body) for each in sent] == [
        (report.id, "", (Recipient("a@shop.example", "NEVER"),), report.body)
    ]


async def test_an_unclaimed_delivery_is_as_before(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        assert await deliveries.unclaim([claimed]) == [True]
        assert await deliveries.unclaim([claimed]) == [False]
        assert books.delivery(job.id) == ("queued", 0, 0, 1)
        assert (await claim_one(deliveries, job)).token == 2


async def test_due_mail_is_sent_then_marked_and_comes_again_if_the_queue_loses_it(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example", dedupe=KEY, envid="e1", smtputf8=True, require_tls=True)
    sent: list[Job] = []

    async def take(jobs: Sequence[Job]) -> list[bool]:
        sent.extend(jobs)
        return [True] * len(jobs)

    async def refuse(jobs: Sequence[Job]) -> list[bool]:
        return [False] * len(jobs)

    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        assert await deliveries.dispatch(take, 10, 60) == 0
        await deliveries.finish(
            [result(claimed, DeliveryState.DEFERRED, deferred(0), deferred(1), wait=30.0, body=PLACE)]
        )
        assert await deliveries.dispatch(take, 10, 60) == 0
        books.hurry()
        assert await deliveries.dispatch(refuse, 10, 60) == 0
        assert await deliveries.dispatch(take, 10, 60) == 1
        assert await deliveries.dispatch(take, 10, 60) == 0
        assert sent == [job._replace(dedupe=None, body=PLACE)]
        books.hurry()
        assert await deliveries.dispatch(take, 10, 60) == 1, "the queue lost it"
        again = await claim_one(deliveries, sent[1])
        books.hurry()
        books.lose_leases()
        assert await deliveries.dispatch(take, 10, 60) == 1, "so did its worker"
        assert (await claim_one(deliveries, sent[2])).token == again.token + 1


async def test_a_value_that_postgresql_refuses_is_the_jobs_fault(books: Books) -> None:
    books.account({"host": "peer.example"})
    async with ledger_of(books.url) as deliveries:
        with pytest.raises(MalformedJob, match="refuses a value"):
            await claim(deliveries, make_job(), make_job(envid="a\0b"))
        assert books.states() == []
        assert isinstance((await claim(deliveries, make_job(header_message_id="<a\0b>")))[0], Claimed)


async def test_mail_of_an_account_without_provider_is_claimed_all_the_same(books: Books) -> None:
    async with ledger_of(books.url) as deliveries:
        assert (await claim_one(deliveries, make_job(account_id=ACCOUNT))).wishes == Wishes()
