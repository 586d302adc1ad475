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
        require_tls boolean, dedupe text, body_bucket text, body_key text, accepted_at timestamptz, queued_at timestamptz, recipients jsonb)
), new AS (
    INSERT INTO message (id, account_id, credential_id, session, mail_from, header_message_id, size, sha256, smtputf8,
                         eight_bit, ret, envid, require_tls, head, duplicate_of, body_bucket, body_key, accepted_at,
                         queued_at, expires_at)
    SELECT job.id, job.account_id, job.credential_id, job.session, job.mail_from, job.header_message_id, job.size,
           decode(job.sha256, 'hex'), job.smtputf8, job.eight_bit, job.ret, job.envid, job.require_tls,
           job.head, nullif(submission.message_id, job.id), job.body_bucket, job.body_key, job.accepted_at, job.queued_at,
           job.accepted_at + make_interval(secs => %(expiry)s)
    FROM job LEFT JOIN submission
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
-- Take the lease of what may be taken, in the order of the id; say of everything else how it stands. A lease that ran
-- out leaves an attempt whose outcome is unknown, and the account's policy says what follows.
WITH standing AS (
    SELECT delivery.id, delivery.account_id, delivery.state, delivery.attempts, delivery.lease_until,
           delivery.next_attempt_at, message.expires_at, message.body_key IS NOT NULL AS stored,
           account.on_unknown, account.default_provider_id
    FROM delivery JOIN message ON message.id = delivery.message_id
         LEFT JOIN account ON account.id = delivery.account_id
    WHERE delivery.message_id = ANY (%(ids)s)
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
), plan AS (
    SELECT standing.*, state = 'sending' AS lost,
           CASE
               WHEN NOT (state = 'queued' OR state IN ('deferred', 'unknown') AND next_attempt_at <= now()
                         OR state = 'sending' AND lease_until <= now()) THEN NULL
               WHEN expires_at <= now() THEN 'expire'
               WHEN state IN ('unknown', 'sending') AND on_unknown IN ('hold', 'drop') THEN on_unknown
               ELSE 'send'
           END AS action
    FROM standing
), lost AS (
    UPDATE attempt SET outcome = 'unknown', finished_at = now(), reply = 'the worker was lost while it was sending'
    FROM plan
    WHERE plan.lost AND plan.action IS NOT NULL AND attempt.delivery_id = plan.id AND attempt.n = plan.attempts
          AND attempt.account_id = plan.account_id AND attempt.outcome IS NULL
), claimed AS (
    UPDATE delivery
    SET state = 'sending', lease_token = delivery.lease_token + 1, lease_owner = %(owner)s,
        lease_until = now() + make_interval(secs => %(lease)s), next_attempt_at = NULL,
        attempts = delivery.attempts + (plan.action = 'send')::integer, provider_id = plan.default_provider_id,
        -- The queue brings it back first; the dispatcher does if the queue has lost it.
        dispatch_at = CASE WHEN plan.stored THEN now() + make_interval(secs => 2 * %(lease)s) END
    FROM plan
    WHERE delivery.id = plan.id AND plan.action IS NOT NULL
    RETURNING delivery.id, delivery.account_id, delivery.lease_token, delivery.attempts, delivery.tries,
              delivery.provider_id, plan.action
), begun AS (
    INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at)
    SELECT id, attempts, account_id, provider_id, %(owner)s, now() FROM claimed WHERE action = 'send'
)
SELECT message.id, message.duplicate_of, plan.state,
       extract(epoch FROM plan.lease_until - now())::float8, extract(epoch FROM plan.next_attempt_at - now())::float8,
       message.body_bucket, message.body_key, message.expires_at,
       plan.id, plan.action, plan.lost, claimed.lease_token, claimed.attempts, claimed.tries, pending.ns, pending.states,
       provider.id, provider.name, provider.kind, provider.config, provider.secret, provider.version, provider.enabled
FROM message
     LEFT JOIN plan ON plan.id = message.id
     LEFT JOIN claimed ON claimed.id = plan.id
     LEFT JOIN provider ON provider.id = claimed.provider_id
               AND (provider.account_id IS NULL OR provider.account_id = claimed.account_id)
     LEFT JOIN LATERAL (
         SELECT array_agg(n ORDER BY n) AS ns, array_agg(state ORDER BY n) AS states
         FROM recipient
         WHERE recipient.delivery_id = claimed.id AND recipient.account_id = claimed.account_id
               AND recipient.state NOT IN ('accepted', 'failed', 'expired', 'held')
     ) AS pending ON true
WHERE message.id = ANY (%(ids)s);

-- finish --
-- Write down what became of claims; a claim whose lease went to another changes nothing.
WITH result AS (
    SELECT * FROM jsonb_to_recordset(%(results)s) AS result (
        delivery_id uuid, token bigint, state text, wait float8, tries integer, body_bucket text, body_key text,
        outcome text, code integer, enhanced text, reply text, recipients jsonb)
), mine AS (
    SELECT delivery.id, delivery.account_id, delivery.message_id, delivery.attempts, result.*
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
    SET finished_at = now(), outcome = mine.outcome, code = mine.code, enhanced = mine.enhanced, reply = mine.reply
    FROM mine
    WHERE attempt.delivery_id = mine.id AND attempt.account_id = mine.account_id AND attempt.n = mine.attempts
          AND attempt.outcome IS NULL AND mine.outcome IS NOT NULL
), fates AS (
    UPDATE recipient
    SET state = fate.state, updated_at = now(),
        -- What is settled without an attempt keeps the words of the last one.
        code = CASE WHEN mine.outcome IS NULL THEN recipient.code ELSE fate.code END,
        enhanced = CASE WHEN mine.outcome IS NULL THEN recipient.enhanced ELSE fate.enhanced END,
        reply = CASE WHEN mine.outcome IS NULL THEN concat_ws('; last reply: ', fate.reply, recipient.reply)
                     ELSE fate.reply END
    FROM mine CROSS JOIN jsonb_to_recordset(mine.recipients)
              AS fate (n integer, state text, code integer, enhanced text, reply text)
    WHERE recipient.message_id = mine.message_id AND recipient.n = fate.n AND recipient.account_id = mine.account_id
          AND recipient.delivery_id = mine.id AND recipient.state NOT IN ('accepted', 'failed', 'expired')
)
UPDATE delivery
SET state = mine.state, tries = mine.tries, lease_owner = NULL, lease_until = NULL,
    next_attempt_at = now() + make_interval(secs => mine.wait),
    dispatch_at = CASE WHEN mine.body_key IS NOT NULL THEN now() + make_interval(secs => mine.wait) END,
    finished_at = CASE WHEN mine.state = 'done' THEN now() END
FROM mine
WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
RETURNING delivery.id, delivery.lease_token;

-- unclaim --
-- Give back claims of which nothing was sent.
WITH mine AS (
    SELECT delivery.id, delivery.account_id, delivery.attempts
    FROM delivery JOIN jsonb_to_recordset(%(claims)s) AS claim (delivery_id uuid, token bigint)
         ON claim.delivery_id = delivery.id
    WHERE delivery.lease_token = claim.token AND delivery.state = 'sending'
    ORDER BY delivery.id
    FOR NO KEY UPDATE OF delivery
), unbegun AS (
    DELETE FROM attempt USING mine
    WHERE attempt.delivery_id = mine.id AND attempt.account_id = mine.account_id AND attempt.n = mine.attempts
          AND attempt.outcome IS NULL
)
UPDATE delivery SET state = 'queued', attempts = delivery.attempts - 1, lease_owner = NULL, lease_until = NULL
FROM mine
WHERE delivery.id = mine.id AND delivery.account_id = mine.account_id
RETURNING delivery.id, delivery.lease_token;

-- due --
-- What waits with its body in S3 and should be on the queue now; rows that another dispatcher holds are its business.
SELECT message.id, message.account_id, message.credential_id, message.session, message.mail_from, message.accepted_at,
       message.header_message_id, message.sha256, message.size, message.smtputf8, message.eight_bit, message.ret,
       message.envid, message.require_tls, message.head, message.body_bucket, message.body_key,
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

-- forget_submissions --
-- A day later than they end: a job that waited on the queue is judged by when it was accepted.
DELETE FROM submission WHERE (account_id, key) IN (
    SELECT account_id, key FROM submission WHERE expires_at < now() - interval '1 day'
    ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED);

-- ping --
SELECT 1;
