"""What the worker asks PostgreSQL all day reads the rows that it is about, however many others there are."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backing.postgres import statistics
from backing.postgres.claims import Begin, Claimed, Ended, Fate, Report, Result
from backing.postgres.deliveries import Deliveries
from backing.postgres.events import Events
from backing.postgres.outbox import Outbox, Told
from backing.postgres.retention import START, Records
from backing.postgres.routing import Routings
from backing.postgres.suppressions import Suppressions, by_address, newest
from mail.delivery import Outcome
from mail.events.event import Cause, Kind, ProviderEvent
from mail.job import Job, StoredBody
from mail.states import DeliveryState, State
from tests.backing.plans import LARGE, Seen, fill, read, watched
from tests.conftest import database
from tests.worker.house import make_job

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
ACCOUNT, PROVIDER = UUID("0" * 31 + "1"), UUID("0" * 31 + "1")
# What one call is about, and the rows one of its steps may look at: a few for each, and a few hundred for what is due.
BATCH, MOST = 50, 1500


def numbered(n: int) -> UUID:
    return UUID(f"{n:032d}")


@pytest.fixture(scope="module")
def filled(postgres_url: str) -> Iterator[str]:
    with database(postgres_url) as url:
        fill(url)
        yield url


@pytest.fixture(params=["first", "settled"])
async def seen(filled: str, request: pytest.FixtureRequest) -> AsyncIterator[Seen]:
    server, _, template = filled.rpartition("/")
    with database(server, template) as url:
        async with watched(url, settled=request.param == "settled") as seen:
            yield seen


def kept_to_its_rows(seen: Seen, *names: str) -> None:
    assert set(names) <= set(seen.plans)
    scans = [(name, node["Relation Name"]) for name, node in seen.nodes() if node["Node Type"] == "Seq Scan"]
    assert [scan for scan in scans if scan[1] in LARGE] == []
    greedy = {(name, node["Node Type"], node.get("Relation Name")): read(node) for name, node in seen.nodes()}
    assert {where: rows for where, rows in greedy.items() if rows > MOST} == {}


def jobs_of(messages: Sequence[int]) -> list[tuple[Job, datetime]]:
    fresh = [make_job(account_id=ACCOUNT, dedupe=bytes([n]) * 32) for n in range(BATCH // 2)]
    known = [make_job(id=numbered(n), account_id=ACCOUNT) for n in messages]
    return [(job, NOW) for job in (*fresh, *known)]


async def test_claims_attempts_and_results(seen: Seen) -> None:
    deliveries = Deliveries(seen.database, "w", 60, 172_800)
    # Queued ones, lost ones, deferred ones, finished ones.
    jobs = jobs_of([n + 100 * k for k in range(5, 10) for n in (0, 1, 5, 50, 90)])
    claims = [each for each in (await deliveries.claim(jobs)).values() if isinstance(each, Claimed)]
    assert len(claims) > BATCH // 2
    begins = [Begin(claim.delivery_id, claim.token, 2, PROVIDER, (0,)) for claim in claims]
    assert all(await deliveries.begin(begins))
    assert all(await deliveries.extend(claims))
    results = [
        Result(
            delivery_id=claim.delivery_id,
            token=claim.token,
            state=DeliveryState.DONE,
            wait=None,
            fates=(Fate(n=0, state=State.ACCEPTED, reply="taken", provider_id=PROVIDER),),
            ended=(Ended(2, Outcome.ACCEPTED, 250, None, "taken"),),
            body=StoredBody("bodies", "1"),
            report=Report(claim.delivery_id, "a@shop.example", b"told"),
        )
        for claim in claims[1:]
    ]
    assert all(await deliveries.finish(results))
    assert await deliveries.unclaim(claims[:1]) == [True]
    await deliveries.stored(jobs[0][0], StoredBody("bodies", "1"))
    kept_to_its_rows(
        seen,
        *("deliveries.submit", "deliveries.record", "deliveries.claim", "deliveries.begin", "deliveries.extend"),
        *("deliveries.finish", "deliveries.unclaim", "deliveries.stored"),
    )


async def test_what_is_due(seen: Seen) -> None:
    async def send(jobs: Sequence[Job]) -> list[bool]:
        return [True] * len(jobs)

    deliveries = Deliveries(seen.database, "w", 60, 172_800)
    assert await deliveries.dispatch(send, 20, 300) == 20
    assert await deliveries.report(send, 10) == 10
    assert await deliveries.forget_submissions(100) == 100
    kept_to_its_rows(
        seen,
        *("deliveries.due", "deliveries.dispatched", "deliveries.reports", "deliveries.reported"),
        "deliveries.forget_submissions",
    )


def event(to: int, **changes: Any) -> ProviderEvent:
    address = f"r{to}-0@far.example"
    return ProviderEvent(
        id=f"new-{to}", kind=Kind.BOUNCED, suppress=Cause.BOUNCE, address=address, occurred_at=NOW, **changes
    )


async def test_events_of_providers(seen: Seen) -> None:
    events = Events(seen.database)
    tagged = [event(n, message_id=numbered(n), n=0) for n in range(3010, 3030)]
    named = [event(n, provider_message_id=f"p{n}") for n in range(3030, 3060)]
    done = await events.record(PROVIDER, [*tagged, *named], call="call")
    assert {each.account_id is not None for each in done} == {True}
    assert len(await events.rematch(50)) == 50
    assert await events.forget(86_400, 50) == 50
    await events.ses_providers([*tagged, *named])
    kept_to_its_rows(
        seen,
        *("events.record", "events.pending", "events.match", "events.lock", "events.standing", "events.move"),
        *("events.finish", "events.note", "events.forget", "events.ses_providers", "suppressions.add"),
    )


async def test_events_for_accounts(seen: Seen) -> None:
    outbox = Outbox(seen.database, 60)
    errands = await outbox.take([], 4, 20)
    posts = [(errand.endpoint, post) for errand in errands for post in errand.posts]
    assert len(posts) == 40
    told = [
        Told(
            event_id=post.event.id,
            endpoint_id=endpoint.id,
            account_id=endpoint.account_id,
            attempt=post.attempt,
            state="delivered",
            wait=0,
            status=200,
            text="",
        )
        for endpoint, post in posts
    ]
    await outbox.record(told)
    kept_to_its_rows(seen, "outbox.take", "outbox.record")


async def test_replay(seen: Seen) -> None:
    assert await Outbox(seen.database, 60).replay(ACCOUNT, numbered(2), NOW - timedelta(hours=6), NOW) > 100
    kept_to_its_rows(seen, "outbox.replay")


async def test_retention(seen: Seen) -> None:
    async def remove(places: Sequence[StoredBody]) -> None:
        del places

    records = Records(seen.database)
    assert len(await records.owners()) == 2
    old = await records.due(ACCOUNT, 7, START, 50)
    ids = [each.id for each in old]
    assert len(await records.stories(ACCOUNT, ids)) == 50
    assert await records.forget(ACCOUNT, ids, None, remove) == 50
    await records.forget_events(NOW, 50)
    kept_to_its_rows(
        seen,
        *("retention.owners", "retention.due", "retention.stories", "retention.lock", "retention.forget"),
        "retention.forget_events",
    )


@pytest.mark.requirement("CORE-PERF-002")
async def test_statistics_look_at_so_many_messages_and_no_more(seen: Seen) -> None:
    async with seen.database.transaction() as connection:
        found = await statistics.counted(connection, ACCOUNT, NOW - timedelta(days=15), NOW, 500)
    assert (found.messages, found.complete) == (500, False)
    assert sum(found.total.states.values()) > 500
    kept_to_its_rows(seen, "statistics.chosen", "statistics.counts", "statistics.latencies")


@pytest.mark.requirement("CORE-PERF-002")
async def test_suppression_lists_in_pages(seen: Seen) -> None:
    async with seen.database.transaction() as connection:
        first = await newest(connection, ACCOUNT, 100)
        last = first[-1]
        following = await newest(connection, ACCOUNT, 100, (last.since, last.address, last.stream))
        assert len({each.address for each in (*first, *following)}) == 200
        page = await by_address(connection, ACCOUNT, 100)
        assert len({each.address for each in (*page, *await by_address(connection, ACCOUNT, 100, page[-1]))}) == 200
    kept_to_its_rows(seen, "suppressions.list", "suppressions.export")


async def test_routes_and_suppressions(seen: Seen) -> None:
    await Routings(seen.database).load(ACCOUNT)
    suppressions = Suppressions(seen.database)
    since = (await suppressions.hashes(ACCOUNT, 100)).since
    await suppressions.later_hashes(ACCOUNT, since, 100)
    assert await suppressions.find(ACCOUNT, "s2@far.example")
    assert len(await suppressions.suppressed(ACCOUNT, "news", [f"s{n}@far.example" for n in range(2, 102)])) == 50
    kept_to_its_rows(
        seen,
        *("routing.load", "suppressions.hashes", "suppressions.later_hashes", "suppressions.find"),
        "suppressions.suppressed",
    )
