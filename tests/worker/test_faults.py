"""Nothing is lost and nothing is doubled outside of what is on record as unknown, whatever dies and whenever."""

import asyncio
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from backing.postgres.early import Wish
from local.postgres import DATABASE
from mail.job import Job
from mail.states import Order
from tests.postgres import Postgres
from tests.waiting import until
from tests.worker.house import ACCOUNT, Books, Post, environment, make_job
from tests.worker.peer import DROP, Peer
from tests.worker.test_early_orders import desk
from tests.worker.test_end_to_end import Scene

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
# A worker takes some hundred steps before its first message, and some twenty for each.
FIRST_STEPS, LAST_STEPS = 100, 350
LIVES, EACH = 3, 8


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


async def live(scene: Scene, steps: int, **changes: str) -> bool:
    """Run a worker until it dies by itself, or is killed since it finds nothing more to do; whether it did."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.worker.mortal",
        str(steps),
        cwd=ROOT,
        env=environment(scene.books.url, scene.post, WORKER_LEASE_SECONDS="2", **changes),
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.TaskGroup() as tasks:
        dying, idling = tasks.create_task(process.wait()), tasks.create_task(idle(scene))
        await asyncio.wait((dying, idling), return_when=asyncio.FIRST_COMPLETED)
        died = dying.done()
        if not died:
            process.kill()
        idling.cancel()
    assert dying.result() == -signal.SIGKILL
    return died


async def idle(scene: Scene) -> None:
    """Wait until there is nothing to do, or nothing will be for a while."""
    with suppress(TimeoutError):
        await scene.settled(30)


def copies(peer: Peer, jobs: list[Job]) -> list[int]:
    """How often the peer was handed each message."""
    count = Counter(peer.messages)
    return [count[job.body] for job in jobs if isinstance(job.body, bytes)]


def doubts(scene: Scene, jobs: list[Job]) -> list[int]:
    """How many attempts of each are on record of which nobody knows what came."""
    return [[outcome for _, outcome, _ in scene.books.attempts(job.id)].count("unknown") for job in jobs]


def stories(scene: Scene, jobs: list[Job]) -> list[list[tuple[int, str]]]:
    return [[(n, state) for n, state, _ in scene.books.recipients(job.id)] for job in jobs]


@asynccontextmanager
async def crowd(scene: Scene, seed: int) -> AsyncIterator[tuple[Peer, random.Random]]:
    """A peer that now and then drops the connection after it took a message, and an account that sends to it."""
    chance = random.Random(seed)
    final = [DROP if chance.random() < 0.1 else "250 2.0.0 taken" for _ in range(500)]
    rcpt = ["451 4.2.0 later" if chance.random() < 0.1 else "250 ok" for _ in range(500)]
    async with Peer({".": final, "RCPT": rcpt}).serving() as peer:
        scene.books.account(peer.config)
        yield peer, chance


async def short_lives(scene: Scene, chance: random.Random) -> list[Job]:
    """Let one worker after the other die, each over new messages and what the last one left; gives the messages."""
    jobs, deaths = list[Job](), 0
    for _ in range(LIVES):
        new = [make_job(body=b"Subject: %d\r\n\r\nbody\r\n" % (len(jobs) + n)) for n in range(EACH)]
        await scene.post.put(*new)
        jobs += new
        deaths += await live(scene, chance.randint(FIRST_STEPS, LAST_STEPS))
    assert deaths
    return jobs


@pytest.mark.requirement("EC-4")
@pytest.mark.parametrize("seed", range(3))
async def test_a_worker_killed_at_any_await_loses_nothing_and_doubles_only_what_is_unknown(
    scene: Scene, seed: int
) -> None:
    async with crowd(scene, seed) as (peer, chance):
        jobs = await short_lives(scene, chance)
        async with scene.working(WORKER_LEASE_SECONDS="5"):
            await scene.settled(120)
    assert stories(scene, jobs) == [[(0, "accepted")]] * len(jobs)
    for sent, unknown in zip(copies(peer, jobs), doubts(scene, jobs), strict=True):
        assert 1 <= sent <= 1 + unknown
    assert await scene.post.counts() == (0, 0)


@pytest.mark.requirement("EC-4")
@pytest.mark.parametrize("policy", ["hold", "drop"])
async def test_an_account_that_wants_no_doubles_gets_none(scene: Scene, policy: str) -> None:
    async with crowd(scene, 99) as (peer, chance):
        scene.books.run("UPDATE account SET on_unknown = %s", policy)
        jobs = await short_lives(scene, chance)
        async with scene.working(WORKER_LEASE_SECONDS="5"):
            await scene.settled(120)
    end = {"hold": "held", "drop": "failed"}[policy]
    for sent, unknown, story in zip(copies(peer, jobs), doubts(scene, jobs), stories(scene, jobs), strict=True):
        assert sent <= 1
        assert story == [(0, end if unknown else "accepted")]
        assert sent == 1 or unknown


@pytest.mark.requirement("EC-4")
@pytest.mark.parametrize("seed", range(2))
async def test_what_is_ordered_before_a_worker_comes_is_obeyed_wherever_workers_are_killed(
    scene: Scene, seed: int
) -> None:
    """A third of it held, a third cancelled, a third sent; nothing of it is lost, and nothing is sent too early."""
    chance, deaths = random.Random(seed), 0
    held, cancelled, sent = list[Job](), list[Job](), list[Job]()
    async with Peer().serving() as peer, desk(scene.books.url) as messages:
        scene.books.account(peer.config)
        for life in range(LIVES):
            new = [make_job(body=b"Subject: %d\r\n\r\nbody\r\n" % (life * 9 + n)) for n in range(9)]
            for each in new[:3]:
                assert await messages.direct(Wish(Order.HOLD, each.id), ACCOUNT) is None
            for each in new[3:6]:
                assert await messages.direct(Wish(Order.CANCEL, each.id), ACCOUNT) is None
            held, cancelled, sent = held + new[:3], cancelled + new[3:6], sent + new[6:]
            chance.shuffle(new)
            await scene.post.put(*new)
            deaths += await live(scene, chance.randint(FIRST_STEPS, LAST_STEPS))
        async with scene.working(WORKER_LEASE_SECONDS="5"):
            await scene.settled(120)
            assert deaths
            assert stories(scene, held) == [[(0, "held")]] * len(held)
            assert stories(scene, cancelled) == [[(0, "cancelled")]] * len(cancelled)
            assert copies(peer, held + cancelled) == [0] * len(held + cancelled)
            assert {f"bodies/{job.id}" for job in held} <= set(await scene.post.stored())
            for job in held:
                assert await messages.direct(Wish(Order.RELEASE, job.id), ACCOUNT) == [0]
            await scene.settled(120)
    assert stories(scene, held + sent) == [[(0, "accepted")]] * len(held + sent)
    assert copies(peer, held) == [1] * len(held)
    assert all(
        1 <= count <= 1 + unknown for count, unknown in zip(copies(peer, sent), doubts(scene, sent), strict=True)
    )
    assert copies(peer, cancelled) == [0] * len(cancelled)
    assert scene.books.run("SELECT count(*) FROM early_order") == [(0,)]
    assert await scene.post.counts() == (0, 0)


async def test_a_database_that_restarts_under_load_costs_nothing_but_time(
    own_postgres: Postgres, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(own_postgres.password_file))
    scene = Scene(Books(f"{own_postgres.url}/{DATABASE}"), post, monkeypatch)
    async with Peer(delay=0.01).serving() as peer:
        scene.books.account(peer.config)
        jobs = [make_job(body=b"Subject: %d\r\n\r\nbody\r\n" % n) for n in range(40)]
        await scene.post.put(*jobs)
        async with scene.working(WORKER_CONCURRENCY="8", DATABASE_ACQUIRE_TIMEOUT_SECONDS="1"):
            for many in (5, 20):
                await until(lambda many=many: len(peer.messages) >= many, 60)  # type: ignore[misc]
                await asyncio.to_thread(own_postgres.stop)
                await asyncio.to_thread(own_postgres.start)
            await scene.settled(120)
    assert stories(scene, jobs) == [[(0, "accepted")]] * len(jobs)
    # No lease ran out meanwhile, so no outcome was unknown, and no message was sent twice.
    assert copies(peer, jobs) == [1] * len(jobs)
    assert doubts(scene, jobs) == [0] * len(jobs)
    assert await scene.post.counts() == (0, 0)


async def test_two_workers_share_a_queue_that_repeats_itself(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        jobs = [make_job(body=b"Subject: %d\r\n\r\nbody\r\n" % n) for n in range(20)]
        await scene.post.put(*jobs, *jobs, *reversed(jobs))
        async with (
            scene.working(WORKER_LEASE_SECONDS="5", WORKER_CONCURRENCY="8"),
            scene.working(WORKER_LEASE_SECONDS="5", WORKER_CONCURRENCY="8"),
        ):
            await scene.settled(60)
    assert copies(peer, jobs) == [1] * len(jobs)
    assert [scene.books.attempts(job.id) for job in jobs] == [[(1, "accepted", 250)]] * len(jobs)
