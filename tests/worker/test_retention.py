"""Forgetting finished mail and old events, with a real database and a real bucket."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from aiobotocore.session import get_session
from prometheus_client import CollectorRegistry

from backing.aws import Aws
from backing.ids import new_id, now
from backing.metrics import OutboxMetrics
from backing.postgres.pool import Database
from backing.postgres.retention import SQL, START, Records
from backing.s3 import Bodies
from backing.settings import Settings
from mail.errors import Unavailable
from mail.ids import uuid7
from mail.states import SETTLED, DeliveryState, State
from tests.conftest import REGION
from tests.roles import as_role
from tests.worker.house import ACCOUNT, Books, Post
from worker.retention import Retention, Terms, archive_key

pytestmark = pytest.mark.anyio

BAKERY = UUID("01890000-0000-7000-8000-00000000000b")
REPLY = 'No "such" user, sorry'


@dataclass
class House:
    """A database, a bucket and what forgets."""

    books: Books
    post: Post
    database: Database
    bodies: Bodies
    client: Any
    metrics: OutboxMetrics

    def retention(self, archive: Bodies | None = None, days: int = 30) -> Retention:
        records = Records(self.database)
        return Retention(records, self.bodies, archive or self.bodies, self.metrics, Terms(days, 30, pause=0), now)

    def message(
        self,
        days: float = 40,
        states: tuple[str, ...] = ("accepted",),
        work: str = "done",
        account: UUID = ACCOUNT,
        **more: Any,
    ) -> UUID:
        """A message that was accepted so many days ago, with a recipient in each state and two attempts."""
        message, accepted = new_id(), datetime.now(UTC) - timedelta(days=days)
        expires = accepted + timedelta(days=more.get("lives", 2))
        self.books.run(
            "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
            " queued_at, expires_at, body_bucket, body_key, duplicate_of) VALUES"
            " (%s, %s, 's-1', 'a@shop.example', 1, %s, false, false, %s, %s, %s, %s, %s, %s)",
            *(message, account, bytes(32), accepted, accepted, expires),
            *(self.post.bucket if more.get("key") else None, more.get("key"), more.get("duplicate_of")),
        )
        if more.get("duplicate_of"):
            return message
        self.books.run(
            "INSERT INTO delivery (id, message_id, account_id, state) VALUES (%s, %s, %s, %s)",
            *(message, message, account, work),
        )
        for n, state in enumerate(states):
            self.books.run(
                "INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state, reply, updated_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                *(message, n, account, message, f"{n}@far.example", state, REPLY, accepted),
            )
        self.books.run(
            "INSERT INTO attempt (delivery_id, n, account_id, worker, started_at, outcome)"
            " SELECT %s, n, %s, 'w1', now(), 'accepted' FROM generate_series(1, 2) n",
            *(message, account),
        )
        return message

    def left(self) -> set[UUID]:
        return {row[0] for row in self.books.run("SELECT id FROM message")}

    async def store(self, message: UUID) -> str:
        place = await self.bodies.put(message, b"a body")
        return place.key

    async def story(self, key: str) -> list[dict[str, Any]]:
        answer = await self.client.get_object(Bucket=self.post.bucket, Key=key)
        return [json.loads(line) for line in gzip.decompress(await answer["Body"].read()).splitlines()]


@pytest.fixture
async def house(books: Books, post: Post) -> AsyncIterator[House]:
    books.account(None)
    settings, metrics = Settings(database_url=books.url), OutboxMetrics(CollectorRegistry())
    session = get_session()
    async with (
        Database(settings, Aws(REGION)).opened() as database,
        session.create_client("s3", region_name=REGION, endpoint_url=post.endpoint) as s3,
    ):
        yield House(books, post, database, Bodies(s3, post.bucket), s3, metrics)


@pytest.mark.requirement("CORE-DB-003")
async def test_finished_mail_goes_with_all_that_hangs_on_it_when_it_is_old(house: House) -> None:
    _, young = house.message(days=31), house.message(days=29)
    assert await house.retention().sweep() == 1
    assert house.left() == {young}
    for rows in ("SELECT id FROM delivery", "SELECT message_id FROM recipient", "SELECT delivery_id FROM attempt"):
        assert {row[0] for row in house.books.run(rows)} == {young}
    assert house.metrics.forgotten.labels("message")._value.get() == 1  # noqa: SLF001 - it offers no other way


@pytest.mark.parametrize("state", State)
async def test_only_settled_recipients_are_forgotten(house: House, state: State) -> None:
    message = house.message(states=("accepted", state, "failed"))
    assert await house.retention().sweep() == (state in SETTLED)
    assert house.left() == (set() if state in SETTLED else {message})


@pytest.mark.parametrize("work", [state for state in DeliveryState if state is not DeliveryState.DONE])
async def test_mail_that_is_worked_on_is_never_touched(house: House, work: DeliveryState) -> None:
    message = house.message(days=3000, work=work)
    assert await house.retention().sweep() == 0
    assert house.left() == {message}


async def test_mail_of_which_the_queue_may_still_have_a_copy_is_kept(house: House) -> None:
    message = house.message(days=3, lives=5)
    assert await house.retention(days=1).sweep() == 0
    assert house.left() == {message}


async def test_each_account_has_its_own_days_and_deleted_ones_the_workers(house: House) -> None:
    house.books.run("INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'bakery', '{}')", BAKERY)
    house.books.run("UPDATE account SET retention_days = 60 WHERE name = 'bakery'")
    house.books.run("UPDATE account SET retention_days = 5 WHERE name = 'shop'")
    kept = {house.message(days=4), house.message(days=59, account=BAKERY), house.message(days=29, account=UUID(int=7))}
    for days, account in ((6, ACCOUNT), (61, BAKERY), (31, UUID(int=7))):
        house.message(days=days, account=account)
    assert await house.retention().sweep() == 3
    assert house.left() == kept


async def test_duplicates_are_forgotten_too(house: House) -> None:
    house.message(duplicate_of=new_id())
    assert await house.retention().sweep() == 1


async def test_stored_bodies_go_with_their_mail(house: House) -> None:
    old, young = new_id(), new_id()
    keys = [await house.store(old), await house.store(young)]
    house.message(days=31, key=keys[0])
    house.message(days=31, key="bodies/gone-already")
    house.message(days=1, key=keys[1])
    assert await house.retention().sweep() == 2
    assert await house.post.stored() == [keys[1]]


async def test_bodies_that_cannot_be_removed_keep_their_mail(house: House) -> None:
    message = house.message(key="bodies/x")
    house.books.run("UPDATE message SET body_bucket = 'no-such-bucket'")
    assert await house.retention().sweep() == 0
    assert house.left() == {message}


@pytest.mark.requirement("CORE-DB-003")
async def test_the_story_is_archived_before_the_mail_is_forgotten(house: House) -> None:
    house.books.run("UPDATE account SET archive = true")
    house.books.run(
        "INSERT INTO webhook_endpoint (id, account_id, url, secret) VALUES (%s, %s, 'https://x.example', 'x')",
        *(new_id(), ACCOUNT),
    )
    message = house.message(states=("queued", "accepted"))
    house.books.run("UPDATE recipient SET state = 'failed' WHERE n = 0")
    ((accepted,),) = house.books.run("SELECT accepted_at FROM message")
    assert await house.retention().sweep() == 1
    key = f"archive/{ACCOUNT}/{accepted:%Y}/{accepted:%m}/{accepted:%d}/{message}.json.gz"
    assert await house.post.stored() == [key]
    assert archive_key(ACCOUNT, message, accepted) == key
    story = await house.story(key)
    assert [line["kind"] for line in story] == ["message"] + ["recipient"] * 2 + ["attempt"] * 2 + ["event"] * 2
    assert (story[0]["id"], story[0]["mail_from"]) == (str(message), "a@shop.example")
    recipients = [(line["n"], line["address"], line["state"], line["reply"]) for line in story[1:3]]
    assert recipients == [(0, "0@far.example", "failed", REPLY), (1, "1@far.example", "accepted", REPLY)]
    assert [(line["n"], line["outcome"]) for line in story[3:5]] == [(1, "accepted"), (2, "accepted")]
    events = [(line["type"], line["data"]["recipient"]) for line in story[5:]]
    assert events == [("recipient.accepted", "1@far.example"), ("recipient.failed", "0@far.example")]
    assert house.left() == set()


async def test_an_archive_that_fails_keeps_the_mail_of_its_account_and_no_other(house: House) -> None:
    house.books.run("INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'bakery', '{}')", BAKERY)
    house.books.run("UPDATE account SET archive = true WHERE name = 'shop'")
    key = await house.store(new_id())
    kept = {house.message(key=key), house.message()}
    house.message(account=BAKERY)
    broken = Bodies(house.client, "no-such-bucket")
    assert await house.retention(archive=broken).sweep() == 1
    assert house.left() == kept
    assert await house.post.stored() == [key]
    assert await house.retention().sweep() == 2


async def test_mail_that_changed_after_its_story_was_read_is_kept(house: House) -> None:
    records, message = Records(house.database), house.message()
    (story,) = await records.stories(ACCOUNT, [message])
    house.books.run("UPDATE recipient SET state = 'bounced', updated_at = now()")
    assert await records.forget(ACCOUNT, [message], story.read_at, house.bodies.delete_all) == 0
    (story,) = await records.stories(ACCOUNT, [message])
    assert await records.forget(ACCOUNT, [message], story.read_at, house.bodies.delete_all) == 1


async def test_mail_that_is_taken_up_again_meanwhile_is_kept(house: House) -> None:
    records, sent, redriven = Records(house.database), house.message(), house.message()
    house.books.run("UPDATE delivery SET state = 'queued' WHERE id = %s", redriven)
    locked = house.message()
    with psycopg.connect(house.books.url) as other:
        other.execute("UPDATE delivery SET state = 'queued' WHERE id = %s", (locked,))
        ids = [sent, redriven, locked]
        assert await records.forget(ACCOUNT, ids, None, house.bodies.delete_all) == 1
    assert house.left() == {redriven, locked}


async def test_nobody_takes_mail_up_while_its_body_is_being_removed(house: House) -> None:
    records, message, seen = Records(house.database), house.message(), []

    async def remove(places: object) -> None:
        del places
        with psycopg.connect(house.books.url) as other:
            other.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("UPDATE delivery SET state = 'queued' WHERE id = %s", (message,))
        seen.append(message)

    assert await records.forget(ACCOUNT, [message], None, remove) == 1
    assert seen == [message]


async def test_foreign_mail_is_not_forgotten(house: House) -> None:
    message = house.message(account=BAKERY)
    assert await Records(house.database).forget(ACCOUNT, [message], None, house.bodies.delete_all) == 0
    assert house.left() == {message}


async def test_a_sweep_goes_on_page_by_page_past_what_is_unfinished(house: House) -> None:
    kept = {house.message(states=("held",), work="held") for _ in range(3)}
    house.books.run(
        "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
        " queued_at, expires_at) SELECT gen_random_uuid(), %s, 's', '', 1, %s, false, false, t, t, t"
        " FROM generate_series(1, 450), (SELECT now() - interval '40 days' AS t)",
        *(ACCOUNT, bytes(32)),
    )
    both = await asyncio.gather(house.retention().sweep(), house.retention().sweep())
    assert sum(both) == 450
    assert house.left() == kept


async def test_old_events_go_with_what_became_of_their_posts(house: House) -> None:
    old, young = datetime.now(UTC) - timedelta(days=31), datetime.now(UTC) - timedelta(days=29)
    events = [uuid7(int(when.timestamp() * 1000), b"0123456789") for when in (old, young)]
    for event, when in zip(events, (old, young), strict=True):
        house.books.run(
            "INSERT INTO outbox (id, account_id, type, payload, created_at) VALUES (%s, %s, 't', '{}', %s)",
            *(event, ACCOUNT, when),
        )
        house.books.run("INSERT INTO webhook_delivery VALUES (%s, %s, %s)", event, new_id(), ACCOUNT)
    await house.retention().sweep()
    assert house.books.run("SELECT created_at FROM outbox") == [(young,)]
    assert house.books.run("SELECT event_id FROM webhook_delivery") == [(events[1],)]


async def test_old_changes_and_what_is_over_are_forgotten(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, young = (
        uuid7(int((datetime.now(UTC) - timedelta(days=days)).timestamp() * 1000), b"0123456789") for days in (366, 364)
    )
    for change in (old, young):
        house.books.run(
            "INSERT INTO audit_log (id, actor, action, subject, request, peer) VALUES (%s, 'a', 'b', 'c', 'd', 'e')",
            change,
        )
    for key, hours in ((b"o" * 32, -1), (b"y" * 32, 1)):
        house.books.run(
            "INSERT INTO api_submission (account_id, key, fingerprint, message_id, expires_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            *(ACCOUNT, key, bytes(32), new_id(), datetime.now(UTC) + timedelta(hours=hours)),
        )
        house.books.run(
            "INSERT INTO api_request (account_id, operation, key, fingerprint, status, made, expires_at)"
            " SELECT NULL, 'POST /rules', %s, %s, 201, 'a rule', %s",
            *(key, bytes(32), datetime.now(UTC) + timedelta(hours=hours)),
        )
        house.books.run(
            "INSERT INTO early_order (message_id, what, actor, request, peer, expires_at)"
            " VALUES (%s, 'hold', %s, 'r', 'p', %s)",
            *(new_id(), key.decode(), datetime.now(UTC) + timedelta(hours=hours)),
        )
    # With no more rights than a worker has.
    own = Settings(database_url=as_role(house.books.url, "worker", tmp_path, monkeypatch))
    async with Database(own, Aws(REGION)).opened() as database:
        await replace(house, database=database).retention().sweep()
    assert house.books.run("SELECT id FROM audit_log") == [(young,)]
    for table in ("api_submission", "api_request"):
        assert [bytes(key) for (key,) in house.books.run(f"SELECT key FROM {table}")] == [b"y" * 32]  # noqa: S608 - as written above
    assert house.books.run("SELECT actor FROM early_order") == [("y" * 32,)]


async def test_looking_for_old_mail_and_events_stays_on_the_indexes(house: House) -> None:
    house.books.run(
        "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
        " queued_at, expires_at) SELECT gen_random_uuid(), CASE WHEN g %% 2 = 0 THEN %s ELSE %s END, 's', '', 1, %s,"
        " false, false, t, t, t FROM generate_series(1, 20000) g, LATERAL (SELECT now() - g * '1 min'::interval AS t)",
        *(ACCOUNT, BAKERY, bytes(32)),
    )
    house.books.run(
        "INSERT INTO outbox (account_id, type, payload) SELECT %s, 't', '{}' FROM generate_series(1, 5000)", ACCOUNT
    )
    house.books.run(
        "INSERT INTO audit_log (id, actor, action, subject, request, peer)"
        " SELECT gen_random_uuid(), 'a', 'b', 'c', 'd', 'e' FROM generate_series(1, 5000)"
    )
    house.books.run(
        "INSERT INTO api_submission (account_id, key, fingerprint, message_id, expires_at)"
        " SELECT %s, sha256(g::text::bytea), sha256(''), gen_random_uuid(), now() + g * '1 min'::interval"
        " FROM generate_series(1, 5000) g",
        ACCOUNT,
    )
    house.books.run(
        "INSERT INTO api_request (account_id, operation, key, fingerprint, status, made, expires_at)"
        " SELECT %s, 'POST /rules', sha256(g::text::bytea), sha256(''), 201, '', now() + g * '1 min'::interval"
        " FROM generate_series(1, 5000) g",
        None,
    )
    house.books.run("VACUUM ANALYZE message, outbox, audit_log, api_submission, api_request")
    due = {"account_id": ACCOUNT, "days": 10, "since": START.accepted_at, "after": START.id, "most": 100}
    for name, values, index in (
        ("due", due | {"settled": sorted(SETTLED)}, "message_account_time"),
        ("owners", {}, "message_account_time"),
        ("forget_events", {"before": UUID(int=1), "most": 100}, "outbox_pkey"),
        ("forget_changes", {"before": UUID(int=1), "most": 100}, "audit_log_pkey"),
        ("forget_submissions", {"most": 100}, "api_submission_expiry"),
        ("forget_requests", {"most": 100}, "api_request_expiry"),
    ):
        with psycopg.connect(house.books.url) as connection:
            plan = connection.execute(f"EXPLAIN {SQL[name]}".encode(), values).fetchall()
        text = "\n".join(line for (line,) in plan)
        assert index in text
        assert "Seq Scan on message" not in text
        assert "Seq Scan on outbox" not in text


async def test_a_database_that_is_away_is_said(house: House) -> None:
    await house.database.pool.close()
    with pytest.raises(Unavailable):
        await house.retention().sweep()
