"""Whose an event of SES is, and what the statements cost where there are many rows."""

from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from backing.ids import new_id
from backing.postgres.events import SQL
from mail.events.event import Kind
from tests.backing.mailbook import BAKERY, Mailbook, event, events_of

pytestmark = pytest.mark.anyio

DELIVERED = Kind.DELIVERED


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


async def test_an_event_of_ses_is_of_the_provider_that_it_was_sent_through(book: Mailbook) -> None:
    async def owners(*asked: tuple[str | None, UUID | None]) -> list[UUID | None]:
        told = [event(DELIVERED, message, channel=channel) for channel, message in asked]
        return await events.ses_providers(told)

    async with events_of(book.url) as events:
        assert await owners(("main", None)) == [None]
        only = book.provider(configuration_set="main")
        assert await owners(("main", None), ("other", None), (None, None)) == [only] * 3
        second = book.provider(configuration_set="bulk")
        twin = book.provider(BAKERY, configuration_set="bulk")
        message = book.mail(twin, account_id=BAKERY)
        assert await owners(("main", message), ("bulk", message), (None, message)) == [only, twin, twin]
        assert await owners(("bulk", None), ("other", None), (None, new_id())) == [None] * 3
        book.run("DELETE FROM provider WHERE id IN (%s, %s)", only, twin)
        assert await owners((None, None)) == [second]


FILL = """
INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at, queued_at,
                     expires_at)
SELECT lpad(n::text, 32, '0')::uuid, lpad('1', 32, '0')::uuid, 's', 'a', 1, sha256(''), false, false, now(), now(),
       now()
FROM generate_series(1, 20000) n;
INSERT INTO delivery (id, message_id, account_id, state)
SELECT id, id, account_id, (ARRAY['done', 'unknown'])[1 + (random() < 0.01)::integer] FROM message;
INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state)
SELECT id, 0, account_id, id, 'b@far.example', 'accepted' FROM message;
INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, provider_message_id)
SELECT id, 1, account_id, account_id, 'w', now(), id FROM message;
INSERT INTO provider_event (provider_id, event_id, kind, address, occurred_at, received_at, effect, look_at)
SELECT account_id, id, 'opened', '', now(), now() - random() * interval '30 days', 'stale',
       CASE WHEN random() < 0.01 THEN now() - interval '1 second' END
FROM message;
ANALYZE message, delivery, recipient, attempt, provider_event
"""


def test_what_is_asked_often_uses_its_indexes(book: Mailbook) -> None:
    book.run(FILL)
    rows = Jsonb([])
    values = {"events": rows, "found": rows, "moved": rows, "noted": rows, "deliveries": rows, "settled": ["accepted"]}
    values |= {"most": 10, "age": 29.9 * 86_400, "unmatched": 1, "waiting": 1}
    plans = {}
    with psycopg.connect(book.url) as connection:
        # As with the disks of today; and thus a small table is as good as a large one.
        connection.execute("SET random_page_cost = 1.1")
        for name in ("match", "pending", "lock", "standing", "move", "finish", "note", "forget", "ses_providers"):
            plan = connection.execute(b"EXPLAIN " + SQL[name].encode(), values).fetchall()
            plans[name] = "\n".join(row[0] for row in plan)
    tables = ("message", "delivery", "recipient", "attempt", "provider_event")
    scanned = {(name, table) for name, plan in plans.items() for table in tables if f"Seq Scan on {table}" in plan}
    assert scanned == set(), [plans[name] for name, _ in scanned]
    assert "attempt_provider_message" in plans["match"]
    assert "provider_event_look" in plans["pending"]
    assert "provider_event_received" in plans["forget"]
