-- take --
-- Lease what is due to endpoints that are not busy here, those that wait longest first. Each endpoint has a share of its
-- own, so that one with a long backlog holds up no other.
WITH chosen AS (
    SELECT endpoint.id, endpoint.account_id
    FROM webhook_endpoint AS endpoint
         CROSS JOIN LATERAL (
             SELECT next_attempt_at FROM webhook_delivery AS delivery
             WHERE delivery.endpoint_id = endpoint.id AND delivery.account_id = endpoint.account_id
                   AND delivery.state = 'pending' AND delivery.next_attempt_at <= now()
             ORDER BY delivery.next_attempt_at LIMIT 1
         ) AS oldest
    WHERE endpoint.enabled AND endpoint.id <> ALL (%(busy)s)
    ORDER BY oldest.next_attempt_at LIMIT %(endpoints)s
), due AS (
    SELECT mine.* FROM chosen
         CROSS JOIN LATERAL (
             SELECT delivery.event_id, delivery.endpoint_id, delivery.account_id FROM webhook_delivery AS delivery
             WHERE delivery.endpoint_id = chosen.id AND delivery.account_id = chosen.account_id
                   AND delivery.state = 'pending' AND delivery.next_attempt_at <= now()
             ORDER BY delivery.next_attempt_at LIMIT %(each)s
             FOR NO KEY UPDATE SKIP LOCKED
         ) AS mine
), leased AS (
    UPDATE webhook_delivery AS delivery
    SET attempts = delivery.attempts + 1, next_attempt_at = now() + make_interval(secs => %(lease)s)
    FROM due
    WHERE delivery.event_id = due.event_id AND delivery.endpoint_id = due.endpoint_id
          AND delivery.account_id = due.account_id
    RETURNING delivery.event_id, delivery.endpoint_id, delivery.account_id, delivery.attempts
)
SELECT endpoint.id, endpoint.account_id, endpoint.url, endpoint.secret,
       CASE WHEN endpoint.previous_until > now() THEN endpoint.previous_secret END,
       outbox.id, outbox.type, outbox.created_at, outbox.payload, leased.attempts
FROM leased
     JOIN outbox ON outbox.id = leased.event_id AND outbox.account_id = leased.account_id
     JOIN webhook_endpoint AS endpoint ON endpoint.id = leased.endpoint_id AND endpoint.account_id = leased.account_id
ORDER BY endpoint.id, outbox.id;

-- record --
-- Write down what became of posts; a lease that ran out meanwhile changes nothing but what is known of the endpoint. Rows
-- are locked in the order of their keys, so that workers never wait for each other.
WITH result AS (
    SELECT * FROM jsonb_to_recordset(%(results)s) AS result (
        event_id uuid, endpoint_id uuid, account_id uuid, attempt integer, state text, wait float8, status integer,
        text text, posted boolean, gone boolean)
), mine AS (
    SELECT delivery.event_id AS id, result.*
    FROM webhook_delivery AS delivery
         JOIN result ON result.event_id = delivery.event_id AND result.endpoint_id = delivery.endpoint_id
              AND result.account_id = delivery.account_id
    WHERE delivery.state = 'pending' AND delivery.attempts = result.attempt
    ORDER BY delivery.event_id, delivery.endpoint_id
    FOR NO KEY UPDATE OF delivery
), settled AS (
    UPDATE webhook_delivery AS delivery
    SET state = mine.state, last_status = mine.status, last_text = mine.text,
        next_attempt_at = now() + make_interval(secs => mine.wait),
        attempts = delivery.attempts - (NOT mine.posted)::integer    -- a hindrance of ours is no attempt
    FROM mine
    WHERE delivery.event_id = mine.event_id AND delivery.endpoint_id = mine.endpoint_id
          AND delivery.account_id = mine.account_id
), seen AS (
    SELECT endpoint_id, account_id, bool_or(state = 'delivered') AS taken, bool_or(gone) AS gone
    FROM result WHERE posted GROUP BY endpoint_id, account_id
), verdict AS (
    SELECT endpoint.id, endpoint.account_id, seen.taken,
           CASE WHEN seen.gone THEN 'it answered 410 Gone'
                WHEN NOT seen.taken AND endpoint.failing_since < now() - make_interval(days => %(days)s)
                THEN format('it has taken nothing for %%s days', %(days)s)
           END AS reason
    FROM webhook_endpoint AS endpoint JOIN seen ON seen.endpoint_id = endpoint.id
         AND seen.account_id = endpoint.account_id
    WHERE endpoint.enabled AND (seen.gone OR seen.taken = (endpoint.failing_since IS NOT NULL)
          OR endpoint.failing_since < now() - make_interval(days => %(days)s))
    ORDER BY endpoint.id
    FOR NO KEY UPDATE OF endpoint
)
UPDATE webhook_endpoint AS endpoint
SET failing_since = CASE WHEN verdict.taken THEN NULL ELSE coalesce(endpoint.failing_since, now()) END,
    enabled = verdict.reason IS NULL, disabled_reason = verdict.reason
FROM verdict
WHERE endpoint.id = verdict.id AND endpoint.account_id = verdict.account_id
RETURNING endpoint.id, endpoint.disabled_reason;

-- replay --
-- Let a page of an account's events go to an endpoint once more; gives how many of them, and where the page ends.
WITH page AS (
    SELECT id, account_id, type, created_at FROM outbox
    WHERE account_id = %(account_id)s AND created_at >= %(since)s AND (created_at, id) > (%(since)s, %(after)s)
          AND created_at < %(until)s
    ORDER BY created_at, id LIMIT %(most)s
), again AS (
    INSERT INTO webhook_delivery (event_id, endpoint_id, account_id)
    SELECT page.id, endpoint.id, page.account_id
    FROM page JOIN webhook_endpoint AS endpoint ON endpoint.account_id = page.account_id
    WHERE endpoint.id = %(endpoint_id)s AND page.type <> %(test)s
          AND (endpoint.types IS NULL OR page.type = ANY (endpoint.types))
    ORDER BY page.id
    ON CONFLICT (event_id, endpoint_id) DO UPDATE SET state = 'pending', attempts = 0, next_attempt_at = now()
    WHERE webhook_delivery.state <> 'pending'
    RETURNING event_id
)
SELECT (SELECT count(*) FROM again), created_at, id FROM page ORDER BY created_at DESC, id DESC LIMIT 1;

-- test --
-- An event of no message, for one endpoint alone that is enabled.
WITH event AS (
    INSERT INTO outbox (account_id, type, payload)
    SELECT account_id, %(test)s, '{}' FROM webhook_endpoint
    WHERE id = %(endpoint_id)s AND account_id = %(account_id)s AND enabled
    RETURNING id, account_id
)
INSERT INTO webhook_delivery (event_id, endpoint_id, account_id)
SELECT id, %(endpoint_id)s, account_id FROM event
RETURNING event_id;

-- create_endpoint --
INSERT INTO webhook_endpoint (id, account_id, url, secret, secret_key, secret_sealed_at, types)
VALUES (%(id)s, %(account_id)s, %(url)s, %(secret)s, %(secret_key)s, now(), %(types)s);

-- lock_endpoint --
SELECT id FROM webhook_endpoint WHERE id = %(id)s AND account_id = %(account_id)s FOR UPDATE;

-- change_endpoint --
-- Null leaves a column as it is; an empty list of types is all. What failed at another URL says nothing of this one.
UPDATE webhook_endpoint SET
    url = coalesce(%(url)s::text, url),
    types = CASE WHEN %(types)s::text[] IS NULL THEN types ELSE nullif(%(types)s::text[], '{}') END,
    failing_since = CASE WHEN %(url)s::text <> url THEN NULL ELSE failing_since END
WHERE id = %(id)s AND account_id = %(account_id)s;

-- list_endpoints --
SELECT id::text, url, types, enabled, disabled_reason,
       to_char(failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS failing_since,
       to_char(previous_until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS rotating_until,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created,
       secret_key, to_char(secret_sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS secret_sealed_at,
       (SELECT count(*) FROM webhook_delivery AS delivery
        WHERE delivery.endpoint_id = webhook_endpoint.id AND delivery.account_id = webhook_endpoint.account_id
              AND delivery.state = 'pending') AS waiting
FROM webhook_endpoint WHERE account_id = %(account_id)s AND (%(after)s::uuid IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(most)s;

-- rotate_secret --
UPDATE webhook_endpoint
SET previous_secret = secret, previous_until = now() + make_interval(secs => %(overlap)s), secret = %(secret)s,
    secret_key = %(secret_key)s, secret_sealed_at = now()
WHERE id = %(id)s AND account_id = %(account_id)s;

-- enable_endpoint --
UPDATE webhook_endpoint SET enabled = true, disabled_reason = NULL, failing_since = NULL
WHERE id = %(id)s AND account_id = %(account_id)s;

-- disable_endpoint --
UPDATE webhook_endpoint SET enabled = false, disabled_reason = %(reason)s
WHERE id = %(id)s AND account_id = %(account_id)s;

-- delete_endpoint --
-- What went to it goes in time with its events.
DELETE FROM webhook_endpoint WHERE id = %(id)s AND account_id = %(account_id)s;

-- list_deliveries --
-- What became of the newest events that went to an endpoint; of those before one, which go no later than it does.
SELECT outbox.id::text AS event, outbox.type, delivery.state, delivery.attempts, delivery.last_status, delivery.last_text,
       to_char(outbox.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS time
FROM outbox JOIN webhook_delivery AS delivery ON delivery.event_id = outbox.id
     AND delivery.account_id = outbox.account_id
WHERE outbox.account_id = %(account_id)s AND delivery.endpoint_id = %(endpoint_id)s
      AND (%(after)s::uuid IS NULL OR (outbox.created_at, outbox.id) < (
          SELECT place.created_at, place.id FROM outbox AS place
          WHERE place.account_id = %(account_id)s AND place.id = %(after)s))
ORDER BY outbox.created_at DESC, outbox.id DESC LIMIT %(most)s;
