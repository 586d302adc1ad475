"""Claims and results against a real PostgreSQL."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backing.postgres.deliveries import (
    Action,
    Claimed,
    Deliveries,
    Duplicate,
    Fate,
    Finished,
    Leased,
    Result,
    Waiting,
)
from mail.delivery import State
from mail.errors import MalformedJob
from mail.job import Job, StoredBody
from tests.worker.house import ACCOUNT, Books, ledger_of, make_job

pytestmark = pytest.mark.anyio

KEY = b"k" * 32
PLACE = StoredBody("bucket", "bodies/1")


async def claim(deliveries: Deliveries, *jobs: Job) -> list[object]:
    claims = await deliveries.claim([(job, job.accepted_at) for job in jobs])
    return [claims[job.id] for job in jobs]


async def claim_one(deliveries: Deliveries, job: Job) -> Claimed:
    (claimed,) = await claim(deliveries, job)
    assert isinstance(claimed, Claimed), claimed
    return claimed


def result(claimed: Claimed, state: str, *fates: Fate, wait: float | None = None, **more: object) -> Result:
    outcome = {"outcome": "temporary" if wait else "accepted", "code": 250, "enhanced": "2.0.0", "reply": "so"}
    return Result(
        delivery_id=claimed.delivery_id,
        token=claimed.token,
        state=state,
        wait=wait,
        tries=claimed.tries,
        fates=fates,
        **(outcome | more),  # type: ignore[arg-type]
    )


def accepted(n: int) -> Fate:
    return Fate(n, State.ACCEPTED, 250, "2.0.0", "taken")


def deferred(n: int) -> Fate:
    return Fate(n, State.DEFERRED, 451, "4.0.0", "later")


async def test_a_first_claim_tells_all_that_sending_needs(books: Books) -> None:
    provider = books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
    assert claimed.provider is not None
    assert (claimed.provider.id, claimed.provider.kind, claimed.provider.config) == (
        provider,
        "smtp",
        {"host": "peer.example"},
    )
    expected = Claimed(
        delivery_id=job.id,
        token=1,
        action=Action.SEND,
        lost=False,
        pending=((0, State.QUEUED), (1, State.QUEUED)),
        attempts=1,
        tries=0,
        expires_at=job.accepted_at + timedelta(hours=48),
        stored=None,
        provider=claimed.provider,
    )
    assert claimed == expected
    assert books.attempts(job.id) == [(1, None, None)]


async def test_two_workers_claim_one_message_once(books: Books) -> None:
    books.account({"host": "peer.example"})
    jobs = [make_job() for _ in range(10)]
    async with ledger_of(books.url, "w1") as one, ledger_of(books.url, "w2") as two:
        for _ in range(5):
            first, second = await asyncio.gather(claim(one, *jobs), claim(two, *reversed(jobs)))
            pairs = list(zip(first, reversed(second), strict=True))
            assert all({type(each) for each in pair} in ({Claimed, Leased}, {Leased}) for pair in pairs), pairs
    assert {books.delivery(job.id) for job in jobs} == {("sending", 1, 0, 1)}
    assert [books.attempts(job.id) for job in jobs] == [[(1, None, None)]] * 10


async def test_a_result_is_written_once_and_only_under_its_lease(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        old = await claim_one(deliveries, job)
        books.lose_leases()
        new = await claim_one(deliveries, job)
        assert (new.token, new.lost, new.action) == (old.token + 1, True, Action.SEND)

        late = result(old, "done", accepted(0), accepted(1))
        assert await deliveries.finish([late]) == [False]
        assert books.recipients(job.id) == [(0, "queued", None), (1, "queued", None)]
        assert books.attempts(job.id) == [(1, "unknown", None), (2, None, None)]

        good = result(new, "done", accepted(0), Fate(1, State.FAILED, 550, "5.1.1", "no such user"))
        assert await deliveries.finish([good, late]) == [True, False]
        rows = books.recipients(job.id), books.delivery(job.id), books.attempts(job.id)
        assert rows == (
            [(0, "accepted", 250), (1, "failed", 550)],
            ("done", 2, 0, 2),
            [(1, "unknown", None), (2, "accepted", 250)],
        )
        assert await deliveries.finish([good, late]) == [False, False]
        assert rows == (books.recipients(job.id), books.delivery(job.id), books.attempts(job.id))
        assert await claim(deliveries, job) == [Finished()]


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


@pytest.mark.parametrize(("policy", "action"), [("resend", "send"), ("hold", "hold"), ("drop", "drop")])
async def test_the_account_says_what_follows_a_lost_worker(books: Books, policy: str, action: str) -> None:
    books.account({"host": "peer.example"}, on_unknown=policy)
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        await claim_one(deliveries, job)
        assert [type(each) for each in await claim(deliveries, job)] == [Leased]
        books.lose_leases()
        claimed = await claim_one(deliveries, job)
    assert (claimed.action, claimed.lost, claimed.token) == (Action(action), True, 2)
    assert claimed.pending == ((0, State.QUEUED),)
    attempts = [(1, "unknown", None), (2, None, None)] if action == "send" else [(1, "unknown", None)]
    assert books.attempts(job.id) == attempts


async def test_what_waits_is_not_claimed_before_it_is_due(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job("b@far.example", "c@far.example")
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        waits = result(claimed, "deferred", deferred(0), accepted(1), wait=60.0, body=PLACE)
        assert await deliveries.finish([replace(waits, tries=1)]) == [True]
        (waiting,) = await claim(deliveries, job)
        assert isinstance(waiting, Waiting)
        assert 55 < waiting.seconds <= 60
        assert waiting.stored
        books.hurry()
        again = await claim_one(deliveries, job)
    assert (again.pending, again.tries, again.attempts, again.stored) == (((0, State.DEFERRED),), 1, 2, PLACE)


async def test_what_has_expired_is_claimed_only_to_say_so(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job(accepted_at=datetime.now(UTC) - timedelta(hours=1))
    async with ledger_of(books.url, expiry=3600) as deliveries:
        assert (await claim_one(deliveries, job)).action is Action.EXPIRE
    assert books.attempts(job.id) == []


async def test_an_unclaimed_delivery_is_as_before(books: Books) -> None:
    books.account({"host": "peer.example"})
    job = make_job()
    async with ledger_of(books.url) as deliveries:
        claimed = await claim_one(deliveries, job)
        assert await deliveries.unclaim([claimed]) == [True]
        assert await deliveries.unclaim([claimed]) == [False]
        assert books.attempts(job.id) == []
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
        await deliveries.finish([result(claimed, "deferred", deferred(0), deferred(1), wait=30.0, body=PLACE)])
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
        assert (await claim_one(deliveries, make_job(account_id=ACCOUNT))).provider is None
