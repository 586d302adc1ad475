-- await_orders --
-- Whoever is noting an order for one of these messages is done first; who comes later finds the message written down.
-- Ids come sorted, so that two workers never wait for each other.
SELECT pg_advisory_xact_lock_shared(hashtextextended(id::text, 15)) FROM unnest(%(ids)s::uuid[]) AS id;

-- submit --
-- Who submits a key first owns it for the window; rows are taken in the order of the key, so that two workers never
-- wait for each other. A message that is recorded already had its turn.
INSERT INTO submission (account_id, key, message_id, expires_at)
SELECT DISTINCT ON (job.account_id, job.dedupe)
       job.account_id, decode(job.dedupe, 'hex'), job.id, job.accepted_at + make_interval(secs => %(window)s)
FROM jsonb_to_recordset(%(jobs)s) AS job (id uuid, account_id uuid, dedupe text, accepted_at timestamptz)
WHERE job.dedupe IS NOT NULL AND NOT EXISTS (SELECT FROM message WHERE message.id = job.id)
ORDER BY job.account_id, job.dedupe, job.accepted_at, job.id
ON CONFLICT (account_id, key) DO UPDATE SET message_id = EXCLUDED.message_id, expires_at = EXCLUDED.expires_at
WHERE submission.expires_at <= EXCLUDED.expires_at - make_interval(secs => %(window)s);

-- record --
-- Message, delivery and recipients, once; SQS repeats itself. A duplicate submission is recorded and goes nowhere.
WITH job AS (
    SELECT * FROM jsonb_to_recordset(%(jobs)s) AS job (
        id uuid, account_id uuid, credential_id uuid, session text, mail_from text, header_message_id text,
        size bigint, sha256 text, head integer, smtputf8 boolean, eight_bit boolean, ret text, envid text,
        require_tls boolean, dedupe text, body_bucket text, body_key text, accepted_at timestamptz,
        queued_at timestamptz, stream text, tags jsonb, recipients jsonb)
), new AS (
    INSERT INTO message (id, account_id, credential_id, session, mail_from, header_message_id, size, sha256, smtputf8,
                         eight_bit, ret, envid, require_tls, head, duplicate_of, body_bucket, body_key, accepted_at,
                         queued_at, stream, tags, expires_at)
    SELECT job.id, job.account_id, job.credential_id, job.session, job.mail_from, job.header_message_id, job.size,
           decode(job.sha256, 'hex'), job.smtputf8, job.eight_bit, job.ret, job.envid, job.require_tls,
           job.head, nullif(submission.message_id, job.id), job.body_bucket, job.body_key, job.accepted_at,
           job.queued_at, job.stream, ARRAY(SELECT jsonb_array_elements_text(job.tags)),
           job.accepted_at + make_interval(secs => coalesce(account.expiry_seconds, %(expiry)s))
    FROM job LEFT JOIN account ON account.id = job.account_id
         LEFT JOIN submission
         ON submission.account_id = job.account_id AND submission.key = decode(job.dedupe, 'hex')
    ORDER BY job.id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, account_id, duplicate_of
), new_delivery AS (
    INSERT INTO delivery (id, message_id, account_id)
    SELECT id, id, account_id FROM new WHERE duplicate_of IS NULL
    RETURNING id, message_id, account_id
)
INSERT INTO recipient (message_id, n, account_id, delivery_id, address, notify, orcpt)
SELECT new_delivery.message_id, listed.n - 1, new_delivery.account_id, new_delivery.id,
       listed.recipient ->> 'address', listed.recipient ->> 'notify', listed.recipient ->> 'orcpt'
FROM new_delivery JOIN job ON job.id = new_delivery.message_id
     CROSS JOIN jsonb_array_elements(job.recipients) WITH ORDINALITY AS listed (recipient, n);

-- claim --
-- Take the lease of what may be taken, in the order of the id; say of everything else how it stands. An attempt whose
-- lease ran out may have reached its provider: nobody knows, and so it is written down. What was ordered before the
-- message was written down is carried out before anything is sent.
WITH standing AS (
    SELECT delivery.id, delivery.account_id, delivery.state, delivery.lease_until, delivery.next_attempt_at,
           message.body_key IS NOT NULL AS stored, noted.ordered,
           NOT noted.ordered AND (delivery.state = 'queued'
               OR delivery.state IN ('deferred', 'unknown') AND delivery.next_attempt_at <= now())
               OR delivery.state = 'sending' AND delivery.lease_until <= now() AS free
    FROM delivery JOIN message ON message.id = delivery.message_id AND message.account_id = delivery.account_id
         CROSS JOIN LATERAL (
             SELECT EXISTS (SELECT FROM early_order WHERE early_order.message_id = message.id
                            AND (early_order.account_id IS NULL OR early_order.account_id = message.account_id))
                    AS ordered
         ) AS noted
    WHERE delivery.message_id = ANY (%(ids)s)
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
), lost AS (
    UPDATE attempt SET outcome = 'unknown', finished_at = now(), reply = 'the worker was lost while it was sending'
    FROM standing
    WHERE standing.free AND standing.state = 'sending' AND attempt.delivery_id = standing.id
          AND attempt.account_id = standing.account_id AND attempt.outcome IS NULL
    RETURNING attempt.delivery_id, attempt.account_id, attempt.provider_id, attempt.ns
), doubted AS (
    UPDATE recipient
    SET state = 'unknown', provider_id = lost.provider_id, next_attempt_at = now(), updated_at = now()
    FROM lost
    WHERE recipient.delivery_id = lost.delivery_id AND recipient.account_id = lost.account_id
          AND (lost.ns IS NULL OR recipient.n = ANY (lost.ns))
          AND recipient.state IN ('queued', 'sending', 'deferred', 'unknown')
    RETURNING recipient.delivery_id, recipient.n, recipient.provider_id
), claimed AS (
    UPDATE delivery
    SET state = 'sending', lease_token = delivery.lease_token + 1, lease_owner = %(owner)s,
        lease_until = now() + make_interval(secs => %(lease)s), next_attempt_at = NULL,
        -- The queue brings it back first; the dispatcher does if the queue has lost it.
        dispatch_at = CASE WHEN standing.stored THEN now() + make_interval(secs => 2 * %(lease)s) END
    FROM standing
    WHERE delivery.id = standing.id AND standing.free
    RETURNING delivery.id, delivery.account_id, delivery.lease_token, delivery.attempts
)
SELECT message.id, message.duplicate_of, standing.state,
       extract(epoch FROM standing.lease_until - now())::float8,
       extract(epoch FROM standing.next_attempt_at - now())::float8,
       message.body_bucket, message.body_key, message.expires_at, claimed.lease_token, claimed.attempts,
       account.on_unknown, account.retry_seconds, account.send_dsn, account.delay_notice_seconds,
       -- As they stood before this statement; what it doubted comes beside them.
       (SELECT jsonb_agg(jsonb_build_array(
                   recipient.n, recipient.state, recipient.tries,
                   coalesce(extract(epoch FROM recipient.next_attempt_at - now()), 0)::float8, recipient.provider_id,
                   (SELECT suppression.reason FROM suppression
                    WHERE suppression.account_id = recipient.account_id
                          AND suppression.stream IN ('', message.stream)
                          AND suppression.address = lower(recipient.address COLLATE "C")
                          AND (suppression.expires_at IS NULL OR suppression.expires_at > now())
                    LIMIT 1), recipient.dsn, recipient.redirected_to, recipient.released,
                   recipient.by_order) ORDER BY recipient.n)
        FROM recipient
        WHERE recipient.message_id = claimed.id AND recipient.account_id = claimed.account_id
              AND recipient.state IN ('queued', 'sending', 'deferred', 'unknown', 'held')),
       (SELECT jsonb_agg(jsonb_build_array(doubted.n, doubted.provider_id))
        FROM doubted WHERE doubted.delivery_id = claimed.id),
       coalesce(standing.ordered, false)
FROM message
     LEFT JOIN standing ON standing.id = message.id
     LEFT JOIN claimed ON claimed.id = message.id
     LEFT JOIN account ON account.id = claimed.account_id
WHERE message.id = ANY (%(ids)s);

-- begin --
-- Write down attempts that are about to be made, each under its lease, which begins anew.
WITH begun AS (
    SELECT * FROM jsonb_to_recordset(%(begins)s) AS begun (
        delivery_id uuid, token bigint, n integer, provider_id uuid, recipients jsonb, rule_id uuid)
), mine AS (
    SELECT delivery.id, delivery.account_id, delivery.lease_token
    FROM delivery
    WHERE (delivery.id, delivery.lease_token) IN (SELECT delivery_id, token FROM begun) AND delivery.state = 'sending'
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
), leased AS (
    UPDATE delivery
    SET attempts = greatest(delivery.attempts, latest.n), lease_until = now() + make_interval(secs => %(lease)s)
    FROM mine JOIN (SELECT delivery_id, max(n) AS n FROM begun GROUP BY delivery_id) AS latest
              ON latest.delivery_id = mine.id
    WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
)
INSERT INTO attempt (delivery_id, n, account_id, provider_id, rule_id, ns, worker, started_at)
SELECT mine.id, begun.n, mine.account_id, begun.provider_id, begun.rule_id,
       ARRAY(SELECT jsonb_array_elements_text(begun.recipients)::integer), %(owner)s, now()
FROM begun JOIN mine ON mine.id = begun.delivery_id AND mine.lease_token = begun.token
RETURNING attempt.delivery_id, attempt.n;

-- extend --
-- Let leases that are still ours begin anew.
WITH mine AS (
    SELECT delivery.id, delivery.account_id
    FROM delivery JOIN jsonb_to_recordset(%(claims)s) AS claim (delivery_id uuid, token bigint)
         ON claim.delivery_id = delivery.id
    WHERE delivery.lease_token = claim.token AND delivery.state = 'sending'
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
)
UPDATE delivery SET lease_until = now() + make_interval(secs => %(lease)s)
FROM mine
WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
RETURNING delivery.id, delivery.lease_token;

-- finish --
-- Write down what became of claims; a claim whose lease went to another changes nothing.
WITH result AS (
    SELECT * FROM jsonb_to_recordset(%(results)s) AS result (
        delivery_id uuid, token bigint, state text, wait float8, body_bucket text, body_key text,
        ended jsonb, recipients jsonb, report jsonb)
), mine AS (
    SELECT delivery.id, delivery.account_id, delivery.message_id, result.*
    FROM delivery JOIN result ON result.delivery_id = delivery.id
    WHERE delivery.lease_token = result.token AND delivery.state = 'sending'
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
), body AS (
    UPDATE message SET body_bucket = mine.body_bucket, body_key = mine.body_key
    FROM mine
    WHERE message.id = mine.message_id AND message.account_id = mine.account_id AND mine.body_key IS NOT NULL
          AND message.body_key IS NULL
), ended AS (
    UPDATE attempt
    SET finished_at = now(), outcome = done.outcome, code = done.code, enhanced = done.enhanced, reply = done.reply,
        retry_after = done.retry_after, provider_message_id = done.provider_message_id
    FROM mine CROSS JOIN jsonb_to_recordset(mine.ended)
              AS done (n integer, outcome text, code integer, enhanced text, reply text, retry_after float8,
                       provider_message_id text)
    WHERE attempt.delivery_id = mine.id AND attempt.account_id = mine.account_id AND attempt.n = done.n
          AND attempt.outcome IS NULL
), fates AS (
    UPDATE recipient
    SET state = fate.state, updated_at = now(), tries = fate.tries,
        next_attempt_at = now() + make_interval(secs => fate.wait),
        code = CASE WHEN fate.asked THEN fate.code ELSE recipient.code END,
        enhanced = CASE WHEN fate.asked THEN fate.enhanced ELSE recipient.enhanced END,
        reply = CASE WHEN fate.asked THEN fate.reply
                     ELSE concat_ws('; last reply: ', fate.reply, recipient.reply) END,
        provider_id = coalesce(fate.provider_id, recipient.provider_id),
        provider_message_id = coalesce(fate.provider_message_id, recipient.provider_message_id),
        rule_id = coalesce(fate.rule_id, recipient.rule_id),
        redirected_to = coalesce(fate.redirected_to, recipient.redirected_to),
        dsn = coalesce(fate.dsn, recipient.dsn)
    FROM mine CROSS JOIN jsonb_to_recordset(mine.recipients)
              AS fate (n integer, state text, code integer, enhanced text, reply text, tries integer, wait float8,
                       asked boolean, provider_id uuid, provider_message_id text, rule_id uuid, redirected_to text,
                       dsn text)
    WHERE recipient.message_id = mine.message_id AND recipient.n = fate.n AND recipient.account_id = mine.account_id
          AND recipient.delivery_id = mine.id AND recipient.state IN ('queued', 'sending', 'deferred', 'unknown')
), reports AS (
    INSERT INTO report (id, account_id, message_id, sender, body)
    SELECT told.id, mine.account_id, mine.message_id, told.sender, decode(told.body, 'base64')
    FROM mine CROSS JOIN jsonb_to_record(mine.report) AS told (id uuid, sender text, body text)
    WHERE mine.report IS NOT NULL
    ON CONFLICT (id) DO NOTHING
)
UPDATE delivery
SET state = mine.state, lease_owner = NULL, lease_until = NULL,
    next_attempt_at = now() + make_interval(secs => mine.wait),
    dispatch_at = CASE WHEN mine.body_key IS NOT NULL THEN now() + make_interval(secs => mine.wait) END,
    finished_at = CASE WHEN mine.state = 'done' THEN now() END
FROM mine
WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
RETURNING delivery.id, delivery.lease_token;

-- unclaim --
-- Give back claims under which no attempt was begun.
WITH mine AS (
    SELECT delivery.id, delivery.account_id
    FROM delivery JOIN jsonb_to_recordset(%(claims)s) AS claim (delivery_id uuid, token bigint)
         ON claim.delivery_id = delivery.id
    WHERE delivery.lease_token = claim.token AND delivery.state = 'sending'
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
)
UPDATE delivery SET state = 'queued', lease_owner = NULL, lease_until = NULL
FROM mine
WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
RETURNING delivery.id, delivery.lease_token;

-- stored --
-- The body of mail that waits on the queue lies in S3 now: from here on the dispatcher brings it back, or an operator
-- does. One who let it go meanwhile wants it sent now.
WITH parked AS (
    UPDATE message SET body_bucket = %(bucket)s, body_key = %(key)s
    WHERE id = %(id)s AND account_id = %(account_id)s AND body_key IS NULL
    RETURNING id, account_id
)
UPDATE delivery SET dispatch_at = CASE WHEN delivery.state = 'queued' THEN now() ELSE next_attempt_at END
FROM parked
WHERE delivery.message_id = parked.id AND delivery.account_id = parked.account_id
      AND delivery.state IN ('deferred', 'unknown', 'held', 'queued')
RETURNING delivery.id;

-- due --
-- What waits with its body in S3 and should be on the queue now; rows that another dispatcher holds are its business.
SELECT message.id, message.account_id, message.credential_id, message.session, message.mail_from, message.accepted_at,
       message.header_message_id, message.sha256, message.size, message.smtputf8, message.eight_bit, message.ret,
       message.envid, message.require_tls, message.head, message.body_bucket, message.body_key, message.stream,
       message.tags,
       (SELECT jsonb_agg(jsonb_build_array(address, notify, orcpt) ORDER BY n) FROM recipient
        WHERE recipient.message_id = message.id AND recipient.account_id = message.account_id)
FROM delivery JOIN message ON message.id = delivery.message_id AND message.account_id = delivery.account_id
WHERE delivery.dispatch_at <= now()
ORDER BY delivery.dispatch_at
LIMIT %(most)s
FOR NO KEY UPDATE OF delivery SKIP LOCKED;

-- dispatched --
-- On the queue now; should the queue lose it, it is due again after a while.
UPDATE delivery SET dispatch_at = now() + make_interval(secs => %(again)s) WHERE message_id = ANY (%(ids)s);

-- reports --
-- Reports that wait to be put on the queue; those that another dispatcher holds are its business.
SELECT report.id, report.account_id, report.sender, report.body, report.created_at, message.session
FROM report JOIN message ON message.id = report.message_id AND message.account_id = report.account_id
ORDER BY report.created_at
LIMIT %(most)s
FOR UPDATE OF report SKIP LOCKED;

-- reported --
DELETE FROM report WHERE id = ANY (%(ids)s);

-- forget_submissions --
-- A day later than they end: a job that waited on the queue is judged by when it was accepted.
DELETE FROM submission WHERE (account_id, key) IN (
    SELECT account_id, key FROM submission WHERE expires_at < now() - interval '1 day'
    ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED);

-- ping --
SELECT 1;
