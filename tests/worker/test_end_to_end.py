"""A worker in this process, between a real queue, a real database and a peer that speaks SMTP."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from backing.settings import read
from backing.stop import Stop
from mail.job import encode
from tests.conftest import free_port
from tests.worker.house import BODY, Books, Post, environment, make_job
from tests.worker.peer import DROP, HANG, Peer
from worker.__main__ import serve
from worker.settings import WorkerSettings

pytestmark = [pytest.mark.anyio, pytest.mark.long]

NOTHING = (0, 0)


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - other processes set it
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Scene:
    """A test's database, queue and bucket, and how to start a worker between them."""

    books: Books
    post: Post
    monkeypatch: pytest.MonkeyPatch

    @asynccontextmanager
    async def working(self, **changes: str) -> AsyncIterator[Stop]:
        for name, value in environment(self.books.url, self.post, **changes).items():
            self.monkeypatch.setenv(name, value)
        stop = Stop()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve(read(WorkerSettings), stop))
            try:
                yield stop
            finally:
                stop.soon.set()

    async def settled(self, seconds: float = 20) -> None:
        """Wait until every delivery has come to rest and the queue is empty."""

        async def at_rest() -> bool:
            states = set(self.books.states())
            return bool(states) and states <= {"done", "held"} and await self.post.counts() == NOTHING

        await until(at_rest, seconds)

    async def shows(self, state: str, seconds: float = 20) -> None:
        async def shown() -> bool:
            return state in self.books.states()

        await until(shown, seconds)


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


class Sink:
    """Keeps what it gets, for aiosmtpd."""

    def __init__(self) -> None:
        self.taken: list[tuple[str | None, list[str], bytes | str | None]] = []

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        self.taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 2.0.0 taken"


async def test_a_message_goes_from_the_queue_to_the_peer_octet_for_octet(scene: Scene) -> None:
    sink, port = Sink(), free_port()
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        scene.books.account({"host": "127.0.0.1", "port": port, "tls": "none"})
        eight_bit = make_job("b@far.example", body=b"Subject: \xff\xfe\r\n\r\n.\r\n\r\n..\x00\r\n", eight_bit=True)
        job = make_job("b@far.example", "c@far.example")
        await scene.post.put(job, eight_bit)
        async with scene.working():
            await scene.settled()
    finally:
        controller.stop()
    assert sorted(sink.taken, key=lambda each: len(each[1])) == [
        ("a@shop.example", ["b@far.example"], eight_bit.body),
        ("a@shop.example", ["b@far.example", "c@far.example"], BODY),
    ]
    assert scene.books.delivery(job.id) == ("done", 1, 0, 1)
    assert scene.books.recipients(job.id) == [(0, "accepted", 250), (1, "accepted", 250)]
    assert scene.books.attempts(job.id) == [(1, "accepted", 250)]
    assert await scene.post.stored() == []


async def test_what_is_deferred_waits_in_s3_and_is_sent_again_to_whom_it_concerns(scene: Scene) -> None:
    script = {"RCPT c@far.example": ["451 4.2.0 later", "250 ok"], "RCPT d@far.example": "550 5.1.1 unknown"}
    async with Peer(script).serving() as peer:
        scene.books.account(peer.config)
        # The digest leaves out what the relay has put before the content, wherever the job has been.
        head, digest = b"Received: by relay.example\r\n", hashlib.sha256(BODY).digest()
        job = make_job(
            "b@far.example", "c@far.example", "d@far.example", body=head + BODY, head=len(head), sha256=digest
        )
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    rcpts = [command for command in peer.commands if command.startswith("RCPT")]
    assert rcpts == [f"RCPT TO:<{letter}@far.example>" for letter in "bcdc"]
    assert len(set(peer.messages)) == 1
    assert scene.books.delivery(job.id) == ("done", 2, 1, 2)
    assert scene.books.recipients(job.id) == [(0, "accepted", 250), (1, "accepted", 250), (2, "failed", 550)]
    assert scene.books.attempts(job.id) == [(1, "temporary", 451), (2, "accepted", 250)]
    assert await scene.post.stored() == [f"bodies/{job.id}"]


async def test_what_stays_temporary_expires_and_provider_trouble_counts_no_try(scene: Scene) -> None:
    async with Peer({"RCPT": "451 4.2.0 later", "MAIL": ["421 4.3.0 busy", "250 ok"]}).serving() as peer:
        scene.books.account(peer.config)
        job = make_job(accepted_at=datetime.now(UTC) - timedelta(seconds=45))
        await scene.post.put(job)
        async with scene.working(WORKER_EXPIRY_SECONDS="60"):
            await scene.settled()
    assert scene.books.recipients(job.id) == [(0, "expired", 451)]
    attempts = [outcome for _, outcome, _ in scene.books.attempts(job.id)]
    assert attempts[0] == "provider_down"
    assert set(attempts[1:]) == {"temporary"}
    state, count, tries, _ = scene.books.delivery(job.id)
    assert (state, count, tries) == ("done", len(attempts), len(attempts) - 1)


@pytest.mark.parametrize(("policy", "state", "messages"), [("resend", "accepted", 2), ("hold", "held", 1)])
async def test_the_account_decides_what_follows_an_unknown_outcome(
    scene: Scene, policy: str, state: str, messages: int
) -> None:
    async with Peer({".": [DROP, "250 2.0.0 taken"]}).serving() as peer:
        scene.books.account(peer.config, on_unknown=policy)
        job = make_job()
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert len(peer.messages) == messages
    assert [row[1] for row in scene.books.recipients(job.id)] == [state]
    assert scene.books.attempts(job.id)[0] == (1, "unknown", None)
    assert await scene.post.stored() == [f"bodies/{job.id}"]


async def test_mail_without_a_usable_provider_waits_and_never_bounces(scene: Scene) -> None:
    async with Peer().serving() as peer:
        provider = scene.books.account(peer.config, enabled=False)
        job = make_job()
        await scene.post.put(job)
        async with scene.working():
            await scene.shows("deferred")
            assert scene.books.attempts(job.id) == []
            assert scene.books.run("SELECT reply FROM recipient") == [("main: it is disabled",)]
            scene.books.run("UPDATE provider SET enabled = true, version = 2 WHERE id = %s", provider)
            await scene.settled()
    assert scene.books.recipients(job.id) == [(0, "accepted", 250)]


async def test_a_second_submission_is_recorded_and_not_sent(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        jobs = [make_job(dedupe=b"k" * 32) for _ in range(3)]
        await scene.post.put(*jobs, jobs[0])
        # A second copy of a message in hand waits for a lease's length.
        async with scene.working(WORKER_LEASE_SECONDS="5"):
            await scene.settled()
    assert len(peer.messages) == 1
    assert len(scene.books.run("SELECT id FROM message WHERE duplicate_of IS NOT NULL")) == 2


async def test_a_body_in_s3_is_fetched_and_a_lost_or_altered_one_is_told(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        there, altered, lost = (make_job(body=b"body %d\r\n" % n) for n in range(3))
        await scene.post.store(f"bodies/{there.id}", b"body 0\r\n")
        await scene.post.store(f"bodies/{altered.id}", b"body X\r\n")
        jobs = [scene.post.stored_job(job) for job in (there, altered, lost)]
        await scene.post.put(*jobs)
        async with scene.working():
            await scene.settled()
    assert peer.messages == [b"body 0\r\n"]
    states = [scene.books.recipients(job.id)[0][1] for job in jobs]
    assert states == ["accepted", "failed", "failed"]


async def test_a_body_that_s3_does_not_take_waits_on_the_queue(scene: Scene) -> None:
    async with Peer({"RCPT": ["451 4.2.0 later", "250 ok"]}).serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        async with scene.working(BODY_BUCKET="no-such-bucket"):
            await scene.settled()
    assert peer.messages == [BODY.replace(b"\r\n.", b"\r\n..")]
    assert scene.books.attempts(job.id) == [(1, "temporary", 451), (2, "accepted", 250)]


@pytest.mark.requirement("FLOW-OUT-004")
@pytest.mark.parametrize("told_where", [True, False])
async def test_what_cannot_be_read_goes_aside_and_what_is_too_new_stays(scene: Scene, told_where: bool) -> None:  # noqa: FBT001
    newer = json.loads(encode(make_job())) | {"v": 2}
    unstorable = encode(make_job(envid="a\0b"))
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        url = await scene.post.set_aside_after(1)
        good = make_job()
        await scene.post.put("no job", unstorable, json.dumps(newer), good)
        async with scene.working(**({"DEAD_LETTER_QUEUE_URL": url} if told_where else {})):
            # Without a place told, they are released for another look; only then does the queue move them.
            async def all_three() -> bool:
                return len(await scene.post.aside()) == 2 and scene.books.delivery(good.id)[0] == "done"

            await until(all_three, seconds=30)
    assert await scene.post.aside() == {
        "no job": "not JSON: Expecting value: line 1 column 1 (char 0)" if told_where else None,
        unstorable: "PostgreSQL refuses a value: unsupported Unicode escape sequence" if told_where else None,
    }
    assert await scene.post.delayed() == 1
    assert await scene.post.counts() == NOTHING


async def test_a_database_that_goes_and_comes_back_costs_nothing(scene: Scene) -> None:
    name = scene.books.url.rpartition("/")[2]
    admin = scene.books.url.rpartition("/")[0] + "/postgres"

    def database(accepts: str) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {accepts}".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    async with Peer(delay=0.1).serving() as peer:
        scene.books.account(peer.config)
        first, second = make_job(), make_job()
        await scene.post.put(first)
        async with scene.working(DATABASE_ACQUIRE_TIMEOUT_SECONDS="0.3", WORKER_LEASE_SECONDS="30"):

            async def sending() -> bool:
                return bool(peer.commands)

            await until(sending)
            database("false")
            await scene.post.put(second)

            async def sent() -> bool:
                return len(peer.messages) == 1 and (await scene.post.counts())[1] == 2

            await until(sent)
            database("true")
            await scene.settled()
    assert len(peer.messages) == 2
    assert [scene.books.attempts(job.id) for job in (first, second)] == [[(1, "accepted", 250)]] * 2


@pytest.mark.requirement("SC-10.3")
async def test_a_drain_finishes_what_is_in_hand_and_gives_back_the_rest(scene: Scene) -> None:
    jobs = [make_job() for _ in range(6)]
    async with Peer(delay=0.2).serving() as peer:
        scene.books.account(peer.config)
        await scene.post.put(*jobs)
        async with scene.working(WORKER_CONCURRENCY="2", WORKER_POLL_SECONDS="0", WORKER_LEASE_SECONDS="60") as stop:

            async def two_in_hand() -> bool:
                # A claim that its worker has not heard of yet would be given back.
                return scene.books.run("SELECT count(*) FROM attempt") == [(2,)]

            await until(two_in_hand)
            stop.ask()
    done = scene.books.states().count("done")
    assert 2 <= done < 6
    assert set(scene.books.states()) <= {"done", "queued"}
    assert len(peer.messages) == done
    assert await scene.post.counts() == (6 - done, 0)


async def test_asked_twice_it_stops_at_once_and_what_was_under_way_is_unknown(scene: Scene) -> None:
    async with Peer({".": HANG}).serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        async with scene.working(WORKER_LEASE_SECONDS="60") as stop:

            async def sent() -> bool:
                return bool(peer.messages)

            await until(sent)
            stop.ask()
            stop.ask()
    assert scene.books.delivery(job.id) == ("unknown", 1, 0, 1)
    assert scene.books.attempts(job.id) == [(1, "unknown", None)]
    assert await scene.post.counts() == NOTHING
    assert await scene.post.stored() == [f"bodies/{job.id}"]


async def test_an_attempt_is_made_under_a_lease_that_still_holds_or_not_at_all(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        # Another worker takes it as soon as this one has it.
        scene.books.run(
            "CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE delivery SET lease_token = lease_token + 1 WHERE id = NEW.id; RETURN NULL; END $$"
        )
        scene.books.run(
            "CREATE TRIGGER taken AFTER UPDATE ON delivery FOR EACH ROW"
            " WHEN (OLD.state = 'queued' AND NEW.state = 'sending') EXECUTE FUNCTION taken()"
        )
        async with scene.working(WORKER_LEASE_SECONDS="60"):
            await scene.shows("sending")

            async def let_go() -> bool:
                return (await scene.post.counts())[1] == 1

            await until(let_go)
    assert peer.messages == []
    assert scene.books.recipients(job.id) == [(0, "queued", None)]
    assert await scene.post.counts() == (0, 1)


async def test_a_result_whose_lease_went_to_another_changes_nothing(scene: Scene) -> None:
    async with Peer(delay=0.2).serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        async with scene.working(WORKER_LEASE_SECONDS="60"):

            async def under_way() -> bool:
                return scene.books.attempts(job.id) == [(1, None, None)]

            await until(under_way)
            scene.books.run("UPDATE delivery SET lease_token = lease_token + 1, lease_owner = 'another'")

            async def sent() -> bool:
                return bool(peer.messages)

            await until(sent)
    assert scene.books.delivery(job.id) == ("sending", 1, 0, 2)
    assert scene.books.recipients(job.id) == [(0, "queued", None)]
    assert await scene.post.counts() == (0, 1)
