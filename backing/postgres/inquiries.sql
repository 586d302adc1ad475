-- find_provider --
-- One by its owner and name; a null owner is everybody. Locked, so that its tests are counted one after the other.
SELECT id, allowed_domains, (SELECT account.allowed_domains FROM account WHERE account.id = provider.account_id)
FROM provider
WHERE account_id IS NOT DISTINCT FROM %(account_id)s AND name = %(name)s FOR UPDATE;

-- recent_tests --
-- How many tests of a provider were asked for in the last seconds, and in how many seconds the oldest of them is over.
SELECT count(*), extract(epoch FROM min(asked_at) + make_interval(secs => %(seconds)s) - now())::float8
FROM inquiry
WHERE provider_id = %(provider_id)s AND account_id IS NOT DISTINCT FROM %(account_id)s AND kind = 'test'
      AND asked_at > now() - make_interval(secs => %(seconds)s);

-- ask_test --
INSERT INTO inquiry (id, account_id, provider_id, kind, arguments, asked_by)
VALUES (%(id)s, %(account_id)s, %(provider_id)s, 'test', %(arguments)s, %(asked_by)s);

-- show_test --
SELECT inquiry.id, provider.name AS provider, inquiry.state, inquiry.asked_at, inquiry.asked_by, inquiry.answered_at,
       inquiry.arguments, inquiry.outcome
FROM inquiry JOIN provider ON provider.id = inquiry.provider_id
     AND provider.account_id IS NOT DISTINCT FROM inquiry.account_id
WHERE inquiry.id = %(id)s AND inquiry.kind = 'test' AND provider.name = %(name)s
      AND provider.account_id IS NOT DISTINCT FROM %(account_id)s;

-- reseal_one --
INSERT INTO inquiry (id, account_id, provider_id, kind, asked_by)
SELECT new_uuid7(), account_id, id, 'reseal', %(asked_by)s FROM provider
WHERE id = %(provider_id)s AND account_id IS NOT DISTINCT FROM %(account_id)s AND secret IS NOT NULL
ON CONFLICT DO NOTHING;

-- reseal_providers --
-- Of all providers, or of those of one account.
INSERT INTO inquiry (id, account_id, provider_id, kind, asked_by)
SELECT new_uuid7(), account_id, id, 'reseal', %(asked_by)s FROM provider
WHERE (%(account_id)s::uuid IS NULL OR provider.account_id = %(account_id)s) AND secret IS NOT NULL
ON CONFLICT DO NOTHING;

-- reseal_endpoints --
-- Of all webhook endpoints, or of those of one account.
INSERT INTO inquiry (id, account_id, endpoint_id, kind, asked_by)
SELECT new_uuid7(), account_id, id, 'reseal', %(asked_by)s FROM webhook_endpoint
WHERE %(account_id)s::uuid IS NULL OR webhook_endpoint.account_id = %(account_id)s
ON CONFLICT DO NOTHING;

-- show_secret --
-- How a provider's secret is kept, and what became of the latest wish to seal it anew.
SELECT provider.secret IS NOT NULL AS secret, provider.secret_sealed_at AS sealed_at, provider.secret_key AS key,
       latest.id, latest.state, latest.asked_at, latest.answered_at, latest.outcome ->> 'words' AS words
FROM provider LEFT JOIN LATERAL (
         SELECT inquiry.id, inquiry.state, inquiry.asked_at, inquiry.answered_at, inquiry.outcome FROM inquiry
         WHERE inquiry.provider_id = provider.id AND inquiry.account_id IS NOT DISTINCT FROM provider.account_id
               AND inquiry.kind = 'reseal'
         ORDER BY inquiry.id DESC LIMIT 1
     ) AS latest ON true
WHERE provider.account_id IS NOT DISTINCT FROM %(account_id)s AND provider.name = %(name)s;

-- settle --
-- Answer what nobody answers any more: a test that may have sent its mail is never made twice, one that no worker took in
-- time is not made late, and what has ended several workers ends no more.
UPDATE inquiry
SET state = CASE WHEN inquiry.state = 'taken' AND inquiry.arguments ? 'to' THEN 'unknown' ELSE 'failed' END,
    taken_until = NULL, answered_at = now(),
    outcome = jsonb_build_object('words', CASE
        WHEN inquiry.state = 'waiting' THEN %(late)s::text
        WHEN inquiry.arguments ? 'to' THEN %(unknown)s::text
        ELSE %(lost)s::text END)
WHERE inquiry.id IN (
    SELECT id FROM inquiry
    WHERE state IN ('waiting', 'taken')
          AND (state = 'taken' AND taken_until < now() AND (arguments ? 'to' OR tries >= %(most_tries)s)
               OR state = 'waiting' AND kind = 'test' AND asked_at < now() - make_interval(secs => %(patience)s))
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED);

-- take --
-- Lease what waits, or was left by a worker that has gone, the oldest first; with all that it is about.
WITH chosen AS (
    SELECT id FROM inquiry
    WHERE state IN ('waiting', 'taken')
          AND (state = 'taken' AND taken_until < now() AND NOT arguments ? 'to' AND tries < %(most_tries)s
               OR state = 'waiting' AND (kind <> 'test' OR asked_at >= now() - make_interval(secs => %(patience)s)))
    ORDER BY id LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
), taken AS (
    UPDATE inquiry
    SET state = 'taken', tries = inquiry.tries + 1, taken_until = now() + make_interval(secs => %(lease)s)
    FROM chosen WHERE inquiry.id = chosen.id
    RETURNING inquiry.id, inquiry.account_id, inquiry.provider_id, inquiry.endpoint_id, inquiry.kind,
              inquiry.arguments, inquiry.tries
)
SELECT taken.id, taken.tries, taken.kind, taken.account_id, taken.arguments, taken.endpoint_id,
       provider.id, provider.name, provider.kind, provider.config, provider.secret, provider.version, provider.enabled,
       provider.limits, provider.allowed_domains, endpoint.secret, endpoint.previous_secret
FROM taken
     LEFT JOIN provider ON provider.id = taken.provider_id AND provider.account_id IS NOT DISTINCT FROM taken.account_id
     LEFT JOIN webhook_endpoint AS endpoint ON endpoint.id = taken.endpoint_id
               AND endpoint.account_id = taken.account_id
ORDER BY taken.id;

-- record --
-- Write an answer down, unless its lease was lost to another worker meanwhile.
UPDATE inquiry
SET state = %(state)s, outcome = %(outcome)s, answered_at = now(), taken_until = NULL
WHERE id = %(id)s AND state = 'taken' AND tries = %(attempt)s;

-- put_provider_secret --
-- A secret that was set meanwhile stays. The version stays as well: what workers have opened is still what it was.
UPDATE provider SET secret = %(sealed)s, secret_key = %(key)s, secret_sealed_at = now()
WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s AND secret = %(old)s;

-- put_endpoint_secrets --
-- The same for both secrets of an endpoint, of which the first may have become the previous one meanwhile.
UPDATE webhook_endpoint
SET secret = CASE secret WHEN %(old)s THEN %(sealed)s ELSE secret END,
    secret_key = CASE secret WHEN %(old)s THEN %(key)s ELSE secret_key END,
    secret_sealed_at = CASE secret WHEN %(old)s THEN now() ELSE secret_sealed_at END,
    previous_secret = CASE previous_secret
        WHEN %(old)s THEN %(sealed)s WHEN %(old_previous)s THEN %(sealed_previous)s ELSE previous_secret END
WHERE id = %(id)s AND account_id = %(account_id)s
      AND (secret = %(old)s OR previous_secret IN (%(old)s, %(old_previous)s))
RETURNING secret = %(sealed)s;
