"""Answers of SQS and S3 that are lost, late or wrong cost nothing but time."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.worker.house import Books, Post, make_job
from tests.worker.lossy import GOES, KEPT, LOST, REFUSED, TWICE, Lossy
from tests.worker.peer import Peer
from tests.worker.test_end_to_end import NOTHING, Scene, until

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

QUEUE = ("ReceiveMessage", "DeleteMessageBatch", "SendMessageBatch", "ChangeMessageVisibilityBatch")
BUSY = "451 4.2.0 later"


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


@asynccontextmanager
async def working_over(scene: Scene, way: Lossy, **changes: str) -> AsyncIterator[None]:
    async with way.serving() as url, scene.working(AWS_ENDPOINT_URL=url, **changes):
        yield


# Three in a row are more than a call is tried for.
@pytest.mark.parametrize("events", [(LOST, LOST, LOST, GOES, TWICE, GOES), (REFUSED, REFUSED, REFUSED, KEPT, GOES)])
async def test_whatever_becomes_of_calls_of_the_queue_each_message_is_sent_once(
    scene: Scene, events: tuple[str, ...]
) -> None:
    # An answer is waited for as long as a poll may take and a little longer.
    scene.monkeypatch.setattr("worker.__main__._POLL_GRACE_SECONDS", 1)
    way = Lossy(scene.post.endpoint, dict.fromkeys(QUEUE, events))
    late = [f"{n}@late.example" for n in range(4)]
    async with Peer({f"RCPT {address}": [BUSY, "250 ok"] for address in late}).serving() as peer:
        scene.books.account(peer.config)
        jobs = [
            make_job(to, body=b"to %s\r\n" % to.encode()) for to in (*late, *map("{}@far.example".format, range(8)))
        ]
        await scene.post.put(*jobs, *jobs[:3])
        async with working_over(scene, way, WORKER_LEASE_SECONDS="5"):
            await scene.settled(60)
    assert Counter(peer.messages) == {job.body: 1 for job in jobs}
    later = [[(1, "temporary", 451), (2, "accepted", 250)]] * 4
    assert [scene.books.attempts(job.id) for job in jobs] == [*later, *[[(1, "accepted", 250)]] * 8]
    assert [scene.books.recipients(job.id) for job in jobs] == [[(0, "accepted", 250)]] * 12
    assert min(way.calls[operation] for operation in QUEUE) >= 3


async def test_mail_that_waits_while_s3_is_away_is_put_there_once_it_is_back(scene: Scene) -> None:
    way = Lossy(scene.post.endpoint, {"PUT": [REFUSED] * 3 + [GOES]})
    async with Peer({"RCPT": [BUSY, "250 ok"]}).serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        async with working_over(scene, way, WORKER_RETRY_SECONDS="[3600]"):
            await scene.shows("deferred", 30)
            assert await scene.post.stored() == []
            await scene.post.put(job)  # the queue shows it, and it is not due

            async def stored() -> bool:
                return await scene.post.stored() == [f"bodies/{job.id}"] and await scene.post.counts() == NOTHING

            await until(stored, 30)
            scene.books.hurry()
            await scene.settled(30)
    assert scene.books.attempts(job.id) == [(1, "temporary", 451), (2, "accepted", 250)]
    assert len(peer.messages) == 1


async def test_however_long_s3_is_away_what_waits_on_the_queue_is_not_taken_for_poison(scene: Scene) -> None:
    way = Lossy(scene.post.endpoint, {"PUT": [REFUSED]})
    async with Peer({"RCPT": [BUSY, BUSY, "250 ok"]}).serving() as peer:
        scene.books.account(peer.config)
        await scene.post.set_aside_after(1)
        job = make_job()
        await scene.post.put(job)
        async with working_over(scene, way):
            await scene.settled(60)
    assert scene.books.attempts(job.id) == [(1, "temporary", 451), (2, "temporary", 451), (3, "accepted", 250)]
    assert await scene.post.aside() == {}


async def test_a_body_that_cannot_be_fetched_is_waited_for(scene: Scene) -> None:
    way = Lossy(scene.post.endpoint, {"GET": [REFUSED, LOST, REFUSED, GOES]})
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.store(f"bodies/{job.id}", job.body if isinstance(job.body, bytes) else b"")
        await scene.post.put(scene.post.stored_job(job))
        async with working_over(scene, way):
            await scene.settled(60)
    assert len(peer.messages) == 1
    assert scene.books.attempts(job.id) == [(1, "accepted", 250)]
    assert scene.books.run("SELECT count(*), max(tries) FROM recipient") == [(1, 0)]
    assert way.calls["GET"] == 4
