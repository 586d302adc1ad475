"""A database of a busy month, and one that shows how PostgreSQL carries out each statement that it is asked."""

import contextlib
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncClientCursor, AsyncCursor

from backing.aws import Aws
from backing.postgres import deliveries, events, outbox, retention, routing, statistics, suppressions
from backing.postgres.pool import Connection, Database
from backing.settings import Settings

NAMES = {
    text: f"{module.__name__.rpartition('.')[2]}.{name}"
    for module in (deliveries, events, outbox, retention, routing, statistics, suppressions)
    for name, text in module.SQL.items()
}
LARGE = frozenset(
    {"message", "delivery", "recipient", "attempt", "submission", "suppression", "provider_event", "outbox"}
    | {"webhook_delivery"}
)
_PARAMETER = re.compile(r"%\((\w+)\)s")

# Two accounts, 1 and 2, the first with most of the mail; a provider, 1; 30,000 messages with ids by their numbers. Of
# each hundred: one is queued, one is being sent under a lease that has ended, 20 wait, half of them with an unknown
# outcome, and the others are done.
FILL = """
SET session_replication_role = replica;
INSERT INTO account (id, name, allowed_domains) SELECT uid(n), 'account-' || n, '{}' FROM generate_series(1, 2) n;
INSERT INTO provider (id, name, kind) SELECT uid(n), 'provider-' || n, 'sandbox' FROM generate_series(1, 3) n;
INSERT INTO message (id, account_id, session, mail_from, header_message_id, size, sha256, smtputf8, eight_bit,
                     body_bucket, body_key, accepted_at, queued_at, expires_at)
SELECT uid(n), uid(1 + (n % 10 = 0)::integer), 's', 'a@shop.example', '<' || n || '@shop.example>', 1, sha256(''),
       false, false, 'bodies', n, at, at, at + interval '2 days'
FROM generate_series(1, 30000) n, LATERAL (SELECT now() - (30000 - n) * interval '1 minute' AS at);
INSERT INTO delivery (id, message_id, account_id, state, attempts, lease_until, lease_token, next_attempt_at,
                      dispatch_at)
SELECT id, id, account_id, state, 1, CASE WHEN state = 'sending' THEN now() END, 1,
       waits.until, waits.until
FROM (SELECT *, (ARRAY['queued', 'sending'] || array_fill('deferred'::text, ARRAY[10])
                 || array_fill('unknown'::text, ARRAY[10])
                 || array_fill('done'::text, ARRAY[78]))[1 + number(id) % 100] AS state,
             now() + (number(id) % 7200 - 100) * interval '1 second' AS due FROM message) AS message,
     LATERAL (SELECT CASE WHEN state IN ('deferred', 'unknown') THEN due END AS until) AS waits;
INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state, provider_id)
SELECT message_id, n, account_id, id, 'r' || number(id) || '-' || n || '@far.example',
       CASE WHEN state = 'done' THEN 'accepted' WHEN state = 'sending' THEN 'queued' ELSE state END, uid(1)
FROM delivery, generate_series(0, 1) n WHERE n = 0 OR number(id) % 3 = 0;
INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, outcome, provider_message_id)
SELECT id, 1, account_id, uid(1), 'w', now(), CASE WHEN state <> 'sending' THEN 'accepted' END, 'p' || number(id)
FROM delivery;
INSERT INTO submission SELECT account_id, sha256(uuid_send(id)), id, accepted_at + interval '1 day' FROM message;
INSERT INTO suppression (account_id, address, reason, source)
SELECT uid(1 + n % 2), 's' || n || '@far.example', 'bounce', 'provider-1' FROM generate_series(1, 30000) n;
INSERT INTO provider_event (provider_id, event_id, account_id, message_id, n, kind, address, occurred_at, received_at,
                            effect, look_at)
SELECT uid(1), number(id), account_id, id, 0, 'delivered', 'r@far.example', accepted_at, accepted_at,
       CASE WHEN number(id) % 100 = 0 THEN 'unmatched' ELSE 'applied' END,
       CASE WHEN number(id) % 100 = 0 THEN now() END FROM message;
INSERT INTO webhook_endpoint (id, account_id, url, secret)
SELECT uid(n), uid(1 + n % 2), 'https://hooks.example/', '' FROM generate_series(1, 4) n;
INSERT INTO outbox (id, account_id, message_id, type, payload, created_at)
SELECT overlay(id::text PLACING '01890000-0000-7' FROM 1 FOR 15)::uuid, account_id, id, 'recipient.accepted', '{}',
       accepted_at FROM message;
INSERT INTO webhook_delivery (event_id, endpoint_id, account_id, state)
SELECT outbox.id, endpoint.id, outbox.account_id,
       CASE WHEN number(outbox.id) % 100 = 0 THEN 'pending' ELSE 'delivered' END
FROM outbox JOIN webhook_endpoint AS endpoint USING (account_id);
INSERT INTO report (id, account_id, message_id, sender, body)
SELECT id, account_id, id, 'a@shop.example', '' FROM message WHERE number(id) % 1000 = 0;
SET session_replication_role = DEFAULT;
"""
HELPERS = """
CREATE FUNCTION uid(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN lpad(n::text, 32, '0')::uuid;
CREATE FUNCTION number(id uuid) RETURNS integer LANGUAGE sql IMMUTABLE RETURN right(id::text, 9)::integer;
"""


def fill(url: str) -> None:
    """Let a database have seen a month of mail, and know that it has."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (HELPERS, FILL, "VACUUM ANALYZE"):
            connection.execute(statement.encode())


Node = dict[str, Any]


class Seen:
    """The plans of what a database was asked, by the names of the statements."""

    def __init__(self, database: Database) -> None:
        self.plans: dict[str, list[Node]] = defaultdict(list)
        self.database = database

    def nodes(self) -> Iterator[tuple[str, Node]]:
        for name, plans in self.plans.items():
            for plan in plans:
                yield from ((name, node) for node in _below(plan))


def _below(node: Node) -> Iterator[Node]:
    yield node
    for each in node.get("Plans", ()):
        yield from _below(each)


def read(node: Node) -> float:
    """How many rows a node of a plan has looked at."""
    dropped = sum(node.get(f"Rows Removed by {by}", 0) for by in ("Filter", "Index Recheck", "Join Filter"))
    rows: float = (node["Actual Rows"] + dropped) * node["Actual Loops"]
    return rows


class _Explained(AsyncCursor[Any]):
    """Carries out each statement twice: once to see how, which is undone, and once for good."""

    plans: dict[str, list[Node]]
    rehearsals = 0

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "_Explained":
        if query in NAMES:
            plan = await self._plan(query, params or {})
            self.plans[NAMES[query]].append(plan)
        await super().execute(query, params, **options)
        return self

    async def _plan(self, query: str, params: dict[str, Any]) -> Node:
        # As the driver does with what it sends often.
        names = list(dict.fromkeys(_PARAMETER.findall(query)))
        text = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", query).replace("%%", "%")
        values = ", ".join(f"%({name})s" for name in names)
        async with AsyncClientCursor(self.connection) as cursor:
            call = cursor.mogrify(f"explained ({values})" if names else "explained", params)
            await cursor.execute(f"PREPARE explained AS {text}")
            for _ in range(self.rehearsals):
                await cursor.execute(f"EXPLAIN EXECUTE {call}")
            await cursor.execute("SAVEPOINT before")
            await cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) EXECUTE {call}")
            ((plans,),) = await cursor.fetchall()
            await cursor.execute("ROLLBACK TO before")
            await cursor.execute("DEALLOCATE explained")
        plan: Node = plans[0]["Plan"]
        return plan


class _Watched(Database):
    """Shows how each statement is carried out."""

    def __init__(self, url: str, rehearsals: int) -> None:
        settings = Settings(database_url=url)
        super().__init__(settings, Aws(settings.aws_region))
        self.seen = Seen(self)
        self._rehearsals = rehearsals

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        class Cursor(_Explained):
            plans, rehearsals = self.seen.plans, self._rehearsals

        # What is undone for another look is undone within a transaction.
        async with super().statement() as connection, connection.transaction():
            connection.cursor_factory = Cursor
            # The statements of a pipeline cannot be undone one by one.
            connection.pipeline = contextlib.nullcontext  # type: ignore[assignment, method-assign]
            yield connection


@asynccontextmanager
async def watched(url: str, *, settled: bool) -> AsyncIterator[Seen]:
    """A database of which the plans are seen.

    Args:
        url: where it is.
        settled: whether statements have been sent often before. PostgreSQL plans the first five times for the values at
            hand, and may keep to one plan for all values afterwards.
    """
    watched = _Watched(url, 6 if settled else 0)
    async with watched.opened():
        yield watched.seen
