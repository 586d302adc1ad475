"""Rows of mail that was there before, straight into PostgreSQL: an empty database answers by other plans."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

from mail.job import StoredBody

if TYPE_CHECKING:
    import psycopg

_FILL: tuple[LiteralString, ...] = (
    """
    CREATE TEMPORARY TABLE old ON COMMIT DROP AS
    SELECT new_uuid7() AS id, now() - interval '1 hour' - n * interval '10 milliseconds' AS accepted_at,
           CASE WHEN %(waits)s THEN now() + interval '12 hours' END AS due_at
    FROM generate_series(1, %(count)s) AS n
    """,
    """
    INSERT INTO message (id, account_id, session, mail_from, header_message_id, size, sha256, smtputf8, eight_bit,
                         body_bucket, body_key, accepted_at, queued_at, expires_at)
    SELECT id, %(account)s, id::text, 'me@local.example', '<' || id || '@local.example>', %(size)s, sha256(%(body)s),
           false, false, %(bucket)s, %(key)s, accepted_at, accepted_at, accepted_at + interval '48 hours'
    FROM old
    """,
    """
    INSERT INTO submission (account_id, key, message_id, expires_at)
    SELECT %(account)s, sha256(uuid_send(id)), id, accepted_at + interval '24 hours' FROM old
    """,
    """
    INSERT INTO delivery (id, message_id, account_id, state, attempts, next_attempt_at, dispatch_at)
    SELECT id, id, %(account)s, CASE WHEN %(waits)s THEN 'deferred' ELSE 'done' END, 1, due_at, due_at FROM old
    """,
    """
    INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state, tries, next_attempt_at)
    SELECT id, 0, %(account)s, id, 'someone@example.net', CASE WHEN %(waits)s THEN 'deferred' ELSE 'accepted' END, 1,
           due_at
    FROM old
    """,
    """
    INSERT INTO attempt (delivery_id, n, account_id, worker, started_at, finished_at, outcome)
    SELECT id, 1, %(account)s, 'bench', accepted_at, accepted_at + interval '503 milliseconds',
           CASE WHEN %(waits)s THEN 'temporary' ELSE 'accepted' END
    FROM old
    """,
)


@dataclass(frozen=True, slots=True)
class Old:
    """Messages of one account, which share a stored body; they are done, or wait for hours still."""

    account: UUID
    count: int
    body: bytes
    place: StoredBody
    waits: bool = False

    def fill(self, database: "psycopg.Connection[Any]") -> None:
        facts = {
            "account": self.account,
            "count": self.count,
            "waits": self.waits,
            "body": self.body,
            "size": len(self.body),
            "bucket": self.place.bucket,
            "key": self.place.key,
        }
        with database.transaction():
            for statement in _FILL:
                database.execute(statement, facts)
        database.execute("VACUUM ANALYZE message, submission, delivery, recipient, attempt")
