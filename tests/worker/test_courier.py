"""How a message is split into attempts, passed on from provider to provider, and left when there is no more time."""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from backing.ids import new_id
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.worker.house import ACCOUNT, Books, Post, make_job
from tests.worker.peer import DROP, Peer
from tests.worker.test_end_to_end import NOTHING, Scene, until
from worker.providers.base import Answer, Capabilities, Envelope, Setup
from worker.providers.registry import KINDS

pytestmark = [pytest.mark.anyio, pytest.mark.long]


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


def provider(books: Books, name: str, kind: str = "smtp", **config: Any) -> UUID:
    provider_id = new_id()
    books.run(
        "INSERT INTO provider (id, account_id, name, kind, config) VALUES (%s, %s, %s, %s, %s)",
        *(provider_id, ACCOUNT, name, kind, Jsonb(config)),
    )
    return provider_id


def rule(books: Books, **action: Any) -> None:
    books.run(
        "INSERT INTO routing_rule (id, account_id, name, priority, action) VALUES (%s, %s, 'only', 1, %s)",
        *(new_id(), ACCOUNT, Jsonb(action)),
    )


def states(books: Books, message: UUID) -> list[str]:
    return [state for _, state, _ in books.recipients(message)]


async def test_a_rule_splits_a_message_into_attempts_of_so_many_recipients(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        rule(scene.books, type="route", targets=[{"provider": "main"}], max_recipients=2)
        job = make_job(*(f"{n}@far.example" for n in range(5)))
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert scene.books.attempts(job.id) == [(n, "accepted", 250) for n in (1, 2, 3)]
    assert scene.books.run("SELECT ns FROM attempt ORDER BY n") == [([0, 1],), ([2, 3],), ([4],)]
    assert states(scene.books, job.id) == ["accepted"] * 5
    assert len(peer.messages) == 3
    assert sorted(command for command in peer.commands if command.startswith("RCPT")) == [
        f"RCPT TO:<{n}@far.example>" for n in range(5)
    ]


@dataclass
class Crowded:
    """A provider that takes one recipient at a time, and is slow about it."""

    capabilities = Capabilities(verified_tls=False, max_recipients=1)
    inside: int = 0
    most: int = 0

    async def create(self, _: Setup) -> "Crowded":
        return self

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        del body, deadline
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(0.1)
        self.inside -= 1
        return Answer(Outcome.ACCEPTED, 250, None, "taken").to([n for n, _ in envelope.recipients])

    async def close(self) -> None:
        """Nothing is kept open."""


async def test_a_provider_that_takes_one_recipient_at_a_time_has_at_most_ten_attempts_of_a_message(
    scene: Scene,
) -> None:
    crowded = Crowded()
    scene.monkeypatch.setattr("worker.providers.registry.KINDS", {**KINDS, "sandbox": crowded.create})
    scene.books.account({}, kind="sandbox")
    job = make_job(*(f"{n}@far.example" for n in range(25)))
    await scene.post.put(job)
    async with scene.working():
        await scene.settled()
    assert crowded.most == 10
    assert scene.books.attempts(job.id) == [(n, "accepted", 250) for n in range(1, 26)]
    assert states(scene.books, job.id) == ["accepted"] * 25


async def test_a_message_cut_off_among_several_attempts_has_each_as_it_stood(scene: Scene) -> None:
    scene.books.account({}, kind="sandbox")
    rule(scene.books, type="route", targets=[{"provider": "main"}], max_recipients=1)
    # Once the first two have ended, ten are under way, and the last two have not begun.
    job = make_job("ok@far.example", "bounce@far.example", *(f"hang+{n}@far.example" for n in range(12)))
    await scene.post.put(job)
    async with scene.working(WORKER_LEASE_SECONDS="120") as stop:

        async def under_way() -> bool:
            return len(scene.books.attempts(job.id)) == 12

        await until(under_way)
        await asyncio.sleep(0.2)  # till the tenth has come from the database to its provider
        stop.ask()
        stop.ask()
    assert states(scene.books, job.id) == ["accepted", "failed", *["unknown"] * 10, *["queued"] * 2]
    assert scene.books.attempts(job.id) == [
        (1, "accepted", 250),
        (2, "permanent", 550),
        *((n, "unknown", None) for n in range(3, 13)),
    ]
    assert scene.books.delivery(job.id) == ("unknown", 12, 0, 1)
    assert await scene.post.stored() == [f"bodies/{job.id}"]
    assert await scene.post.counts() == NOTHING


async def test_an_attempt_that_was_written_down_and_not_made_is_not_left_open(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        job = make_job()
        await scene.post.put(job)
        # The database takes its time over the attempt.
        scene.books.run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_sleep(1); RETURN NULL; END $$"
        )
        scene.books.run("CREATE TRIGGER slow AFTER INSERT ON attempt FOR EACH STATEMENT EXECUTE FUNCTION slow()")
        async with scene.working(WORKER_LEASE_SECONDS="60") as stop:

            async def beginning() -> bool:
                return bool(scene.books.run("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"))

            await until(beginning)
            stop.ask()
            stop.ask()
    assert peer.messages == []
    assert states(scene.books, job.id) == ["queued"]
    assert scene.books.run("SELECT n, outcome FROM attempt") == [(1, "not_made")]


async def test_another_claim_ends_all_ways_of_a_message_and_is_told_as_that(scene: Scene) -> None:
    scene.books.account({}, kind="sandbox")
    rule(scene.books, type="route", targets=[{"provider": "main"}], max_recipients=1)
    job = make_job(*(f"{n}@far.example" for n in range(3)))
    await scene.post.put(job)
    scene.books.run(
        "CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE delivery SET lease_token = lease_token + 1 WHERE id = NEW.id; RETURN NULL; END $$"
    )
    scene.books.run(
        "CREATE TRIGGER taken AFTER UPDATE ON delivery FOR EACH ROW"
        " WHEN (OLD.state = 'queued' AND NEW.state = 'sending') EXECUTE FUNCTION taken()"
    )
    with capture_logs() as lines:
        async with scene.working(WORKER_LEASE_SECONDS="60"):

            async def told() -> bool:
                return "lease lost" in [line["event"] for line in lines]

            await until(told)
    assert "delivery failed" not in [line["event"] for line in lines]
    assert scene.books.attempts(job.id) == []
    assert states(scene.books, job.id) == ["queued"] * 3


class Broken:
    """A provider with a bug."""

    capabilities = Capabilities(verified_tls=False)

    @classmethod
    async def create(cls, _: Setup) -> "Broken":
        return cls()

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        raise ZeroDivisionError(f"{envelope} {len(body)} {deadline}")

    async def close(self) -> None:
        """Nothing is kept open."""


@pytest.mark.parametrize(("policy", "end"), [("hold", "held"), ("drop", "failed"), ("resend", "unknown")])
async def test_after_a_bug_of_a_provider_the_account_decides_as_after_any_unknown_outcome(
    scene: Scene, policy: str, end: str
) -> None:
    scene.monkeypatch.setattr("worker.providers.registry.KINDS", {**KINDS, "sandbox": Broken.create})
    scene.books.account({}, policy, kind="sandbox")
    job = make_job("b@far.example", "c@far.example")
    await scene.post.put(job)
    # An unknown outcome is acted on after a second, and the last policy would act on it again and again.
    async with scene.working(WORKER_UNKNOWN_SECONDS="3600" if policy == "resend" else "1", WORKER_LEASE_SECONDS="60"):
        await scene.shows({"hold": "held", "drop": "done", "resend": "unknown"}[policy])
    assert states(scene.books, job.id) == [end] * 2
    assert scene.books.run("SELECT n, outcome, reply FROM attempt") == [
        (1, "unknown", "ZeroDivisionError while it was being sent")
    ]
    assert await scene.post.counts() == NOTHING


class Forgetful(Broken):
    """A provider that answers for the first recipient only."""

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:  # noqa: ARG002
        return [RecipientResult(envelope.recipients[0][0], Outcome.ACCEPTED, 250, "2.0.0", "taken")]


async def test_whom_a_provider_says_nothing_of_is_in_doubt(scene: Scene) -> None:
    scene.monkeypatch.setattr("worker.providers.registry.KINDS", {**KINDS, "sandbox": Forgetful.create})
    scene.books.account({}, "hold", kind="sandbox")
    job = make_job("b@far.example", "c@far.example")
    await scene.post.put(job)
    async with scene.working(WORKER_LEASE_SECONDS="60"):
        await scene.shows("held")
    assert states(scene.books, job.id) == ["accepted", "held"]
    assert scene.books.run("SELECT n, outcome, reply FROM attempt") == [(1, "unknown", "the provider did not say")]


async def test_what_is_sent_again_goes_to_the_address_that_a_rule_gave_it(scene: Scene) -> None:
    async with Peer({".": [DROP, "250 2.0.0 taken"]}).serving() as peer:
        scene.books.account(peer.config)
        rule(scene.books, type="redirect", to="all@test.example")
        job = make_job("b@far.example")
        await scene.post.put(job)
        async with scene.working(WORKER_UNKNOWN_SECONDS="2"):
            await scene.shows("unknown")
            scene.books.run("DELETE FROM routing_rule")
            await scene.settled()
    rcpts = [command for command in peer.commands if command.startswith("RCPT")]
    assert rcpts == ["RCPT TO:<all@test.example>"] * 2
    assert scene.books.run("SELECT state, redirected_to FROM recipient") == [("accepted", "all@test.example")]


async def test_what_nobody_can_be_asked_about_any_more_goes_by_the_rules_again(scene: Scene) -> None:
    async with Peer({".": DROP}).serving() as gone, Peer().serving() as stays:
        scene.books.account(stays.config)
        old = provider(scene.books, "old", "smtp", **gone.config)
        rule(scene.books, type="route", targets=[{"provider": "old"}])
        job = make_job()
        await scene.post.put(job)
        async with scene.working(WORKER_UNKNOWN_SECONDS="3600"):
            await scene.shows("unknown")
        scene.books.run("DELETE FROM routing_rule")
        scene.books.run("DELETE FROM provider WHERE id = %s", old)
        scene.books.hurry()
        async with scene.working():
            await scene.settled()
    assert (len(gone.messages), len(stays.messages)) == (1, 1)
    assert scene.books.attempts(job.id) == [(1, "unknown", None), (2, "accepted", 250)]


async def test_mail_that_asks_for_tls_all_the_way_goes_to_the_provider_that_has_it(scene: Scene) -> None:
    async with Peer().serving() as plain:
        scene.books.account(plain.config)
        safe = provider(scene.books, "safe", "sandbox")
        rule(scene.books, type="route", targets=[{"provider": "main"}], failover=["safe"])
        job = make_job(require_tls=True)
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert plain.sessions == 0
    assert scene.books.run("SELECT state, provider_id FROM recipient") == [("accepted", safe)]
    assert scene.books.attempts(job.id) == [(1, "accepted", 250)]


async def test_wishes_for_reports_reach_the_peer(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        recipients = (
            Recipient("b@far.example", "SUCCESS,FAILURE", "rfc822;b@far.example"),
            Recipient("c@far.example", "NEVER"),
        )
        job = make_job(ret="HDRS", envid="QQ314159", eight_bit=True)._replace(recipients=recipients)
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    said = [command for command in peer.commands if command.startswith(("MAIL", "RCPT"))]
    assert said == [
        f"MAIL FROM:<a@shop.example> SIZE={job.size} BODY=8BITMIME RET=HDRS ENVID=QQ314159",
        "RCPT TO:<b@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b@far.example",
        "RCPT TO:<c@far.example> NOTIFY=NEVER",
    ]


async def test_a_provider_that_knows_its_keys_is_asked_again_at_once_and_takes_it_once(scene: Scene) -> None:
    scene.books.account({"remember": 10}, kind="sandbox")
    job = make_job("unknown@far.example", "unknown+2@far.example")
    await scene.post.put(job)
    # Where it is not known, an hour would pass.
    async with scene.working(WORKER_UNKNOWN_SECONDS="3600"):
        await scene.settled()
    # Each recipient by itself, so that its key is the same again.
    assert sorted(scene.books.attempts(job.id)) == [
        (1, "unknown", None),
        (2, "unknown", None),
        (3, "accepted", 250),
        (4, "accepted", 250),
    ]
    assert states(scene.books, job.id) == ["accepted"] * 2
