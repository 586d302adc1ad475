"""Rates, breakers and events as deliveries meet them: the whole worker between real parts."""

from datetime import UTC, datetime

import pytest
from psycopg.types.json import Jsonb

from backing.ids import new_id
from backing.postgres.events import Events
from mail.events.event import Kind, ProviderEvent
from tests.worker.house import ACCOUNT, Books, Post, ledger_of, make_job
from tests.worker.peer import DROP, Peer
from tests.worker.test_end_to_end import Scene
from tests.worker.test_routing import FAILOVER, provide, rule

pytestmark = pytest.mark.anyio


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


async def test_what_is_above_a_providers_rate_waits_and_bounces_never(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        scene.books.run("UPDATE provider SET limits = %s", Jsonb({"rate": 2, "burst": 2}))
        jobs = [make_job() for _ in range(6)]
        await scene.post.put(*jobs)
        async with scene.working(WORKER_PATIENCE_SECONDS="0.1", WORKER_SHARE="1"):
            await scene.settled(40)
    assert len(peer.messages) == len(jobs)
    assert [scene.books.attempts(job.id) for job in jobs] == [[(1, "accepted", 250)]] * len(jobs)
    assert {row[0] for row in scene.books.run("SELECT tries FROM recipient")} == {0}


async def test_a_provider_that_is_down_is_left_alone_and_the_next_one_takes_its_mail(scene: Scene) -> None:
    async with Peer({"MAIL": "421 4.3.0 busy"}).serving() as main, Peer().serving() as other:
        scene.books.account(main.config)
        provide(scene.books, "other", other)
        rule(scene.books, 1, FAILOVER)
        jobs = [make_job() for _ in range(20)]
        async with scene.working(WORKER_CONCURRENCY="1"):
            await scene.post.put(*jobs)
            await scene.settled(40)
    assert len(other.messages) == len(jobs)
    asked = [command for command in main.commands if command.startswith("MAIL")]
    # Five failures in a row open the breaker; one more probe may have come after its ten seconds.
    assert 5 <= len(asked) <= 7


async def test_a_providers_word_settles_what_was_unknown_without_another_copy(scene: Scene) -> None:
    async with Peer({".": DROP}).serving() as peer:
        provider = scene.books.account(peer.config, on_unknown="hold")
        assert provider
        job = make_job()
        await scene.post.put(job)
        async with scene.working(WORKER_UNKNOWN_SECONDS="600"):
            await scene.shows("unknown")
            async with ledger_of(scene.books.url) as deliveries:
                told = ProviderEvent(
                    id="e-1",
                    kind=Kind.DELIVERED,
                    address="b@far.example",
                    occurred_at=datetime.now(UTC),
                    message_id=job.id,
                    n=0,
                )
                await Events(deliveries._database).record(provider, [told])  # noqa: SLF001 - the same database
            await scene.settled()
    assert [row[1] for row in scene.books.recipients(job.id)] == ["delivered"]
    assert scene.books.attempts(job.id) == [(1, "unknown", None)]
    assert len(peer.messages) == 1


async def test_an_account_with_an_endpoint_is_told_of_every_recipient(scene: Scene) -> None:
    async with Peer({"RCPT c@far.example": ["451 4.2.0 later", "550 5.1.1 unknown"]}).serving() as peer:
        scene.books.account(peer.config)
        scene.books.run(
            "INSERT INTO webhook_endpoint (id, account_id, url, secret) VALUES (%s, %s, 'https://127.0.0.1:1/', 'x')",
            new_id(),
            ACCOUNT,
        )
        job = make_job("b@far.example", "c@far.example")
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    told = scene.books.run(
        "SELECT type, payload ->> 'recipient', payload ->> 'text', payload ->> 'provider' FROM outbox"
    )
    assert sorted(told) == [
        ("recipient.accepted", "b@far.example", "2.0.0 taken", "main"),
        ("recipient.deferred", "c@far.example", "4.2.0 later", "main"),
        ("recipient.failed", "c@far.example", "5.1.1 unknown", "main"),
    ]
    assert scene.books.run("SELECT count(*) FROM webhook_delivery") == [(3,)]
