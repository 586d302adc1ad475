-- alone --
-- Nobody writes this message down meanwhile; a worker that does waits, and then sees what was ordered.
SELECT pg_advisory_xact_lock(hashtextextended(%(id)s::uuid::text, 15));

-- waiting --
-- What is noted for a message, by an account or by operators; an operator asks for all of it.
SELECT id, account_id, what, n, provider, actor, request, peer FROM early_order
WHERE message_id = %(id)s AND expires_at >= now()
      AND (%(asked_by)s::uuid IS NULL OR account_id IS NULL OR account_id = %(asked_by)s)
ORDER BY id;

-- take --
-- What is noted for a message that is written down, by its account or by operators. It is carried out now, or never.
DELETE FROM early_order
WHERE message_id = %(id)s AND (account_id = %(account_id)s OR account_id IS NULL)
RETURNING id, account_id, what, n, provider, actor, request, peer;

-- count --
-- Those of operators are counted together.
SELECT count(*) FROM early_order WHERE account_id IS NOT DISTINCT FROM %(account_id)s::uuid AND expires_at >= now();

-- note --
-- What is over makes room, a few at a time.
WITH gone AS (
    DELETE FROM early_order WHERE id IN (
        SELECT id FROM early_order WHERE expires_at < now() AND message_id <> %(id)s
        ORDER BY expires_at LIMIT 10)
)
INSERT INTO early_order (message_id, account_id, what, n, provider, actor, request, peer, expires_at)
VALUES (%(id)s, %(account_id)s, %(what)s, %(n)s, %(provider)s, %(actor)s, %(request)s, %(peer)s,
        now() + make_interval(secs => %(seconds)s));
