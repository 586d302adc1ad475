-- owners --
-- The accounts that have mail, deleted ones, too, found by a step of the index for each; and what they want done with it.
WITH RECURSIVE owner AS (
    (SELECT account_id FROM message ORDER BY account_id LIMIT 1)
    UNION ALL
    SELECT (SELECT message.account_id FROM message WHERE message.account_id > owner.account_id
            ORDER BY message.account_id LIMIT 1)
    FROM owner WHERE owner.account_id IS NOT NULL
)
SELECT owner.account_id, account.retention_days, coalesce(account.archive, false)
FROM owner LEFT JOIN account ON account.id = owner.account_id
WHERE owner.account_id IS NOT NULL;

-- due --
-- A page of an account's mail that is old enough and finished, the oldest first. What has not expired stays: a copy that
-- the queue brings late must find that its message was dealt with.
SELECT message.id, message.accepted_at
FROM message
WHERE message.account_id = %(account_id)s
      AND message.accepted_at >= %(since)s AND (message.accepted_at, message.id) > (%(since)s, %(after)s)
      AND message.accepted_at < now() - make_interval(days => %(days)s) AND message.expires_at < now()
      AND NOT EXISTS (SELECT FROM delivery WHERE delivery.message_id = message.id
                      AND delivery.account_id = message.account_id AND delivery.state <> 'done')
      AND NOT EXISTS (SELECT FROM recipient WHERE recipient.message_id = message.id
                      AND recipient.account_id = message.account_id AND recipient.state <> ALL (%(settled)s))
ORDER BY message.accepted_at, message.id LIMIT %(most)s;

-- stories --
-- All that is on record of messages.
SELECT message.id, now(), to_jsonb(message),
       ARRAY(SELECT to_jsonb(recipient) FROM recipient
             WHERE recipient.message_id = message.id AND recipient.account_id = message.account_id ORDER BY n),
       ARRAY(SELECT to_jsonb(attempt) FROM delivery JOIN attempt ON attempt.delivery_id = delivery.id
             WHERE delivery.message_id = message.id AND delivery.account_id = message.account_id
                   AND attempt.account_id = message.account_id
             ORDER BY attempt.started_at, attempt.delivery_id, attempt.n),
       ARRAY(SELECT jsonb_build_object('id', outbox.id, 'type', type, 'time', created_at, 'data', payload) FROM outbox
             WHERE outbox.message_id = message.id AND outbox.account_id = message.account_id ORDER BY outbox.id)
FROM message
WHERE message.id = ANY (%(ids)s) AND message.account_id = %(account_id)s
ORDER BY message.id;

-- lock --
-- Those that are still finished, locked with their work until they are gone: nobody takes one up again meanwhile. Those
-- of which something was written after their story was read keep for the next time.
WITH mine AS (
    SELECT id, account_id, body_bucket, body_key FROM message
    WHERE id = ANY (%(ids)s) AND account_id = %(account_id)s
    ORDER BY id
    FOR UPDATE SKIP LOCKED
), work AS (
    SELECT delivery.id FROM delivery
    WHERE delivery.message_id = ANY (%(ids)s) AND delivery.account_id = %(account_id)s AND delivery.state = 'done'
    ORDER BY delivery.id
    FOR UPDATE SKIP LOCKED
)
SELECT mine.id, mine.body_bucket, mine.body_key
FROM mine
WHERE NOT EXISTS (SELECT FROM delivery WHERE delivery.message_id = mine.id AND delivery.account_id = mine.account_id
                  AND delivery.id NOT IN (SELECT id FROM work))
      AND NOT EXISTS (SELECT FROM recipient WHERE recipient.message_id = mine.id
                      AND recipient.account_id = mine.account_id
                      AND (recipient.state <> ALL (%(settled)s) OR recipient.updated_at > %(read_at)s));

-- forget --
-- Recipients, deliveries and attempts go with their message.
DELETE FROM message WHERE id = ANY (%(ids)s) AND account_id = %(account_id)s;

-- forget_changes --
-- What the audit log says of any account that is older than an id of that time. Nobody changes it, so nothing is locked.
DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE id < %(before)s ORDER BY id LIMIT %(most)s);

-- forget_submissions --
-- Idempotency-Keys of any account that are over.
DELETE FROM api_submission WHERE (account_id, key) IN (
    SELECT account_id, key FROM api_submission WHERE expires_at < now() ORDER BY expires_at LIMIT %(most)s);

-- forget_requests --
-- Answers to requests with an Idempotency-Key, of any account, that are over.
DELETE FROM api_request WHERE expires_at < now() AND ctid IN (
    SELECT ctid FROM api_request WHERE expires_at < now() ORDER BY expires_at LIMIT %(most)s);

-- forget_orders --
-- Orders for mail that never came.
DELETE FROM early_order WHERE id IN (
    SELECT id FROM early_order WHERE expires_at < now() ORDER BY expires_at LIMIT %(most)s);

-- forget_inquiries --
-- Questions to workers about things of any account that are older than an id of that time. The answer may have come just
-- now, or none at all; nobody waits for so long.
DELETE FROM inquiry WHERE id IN (
    SELECT id FROM inquiry WHERE id < %(before)s ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED);

-- forget_events --
-- Events of any account that are older than an id of that time; their posts go with them.
DELETE FROM outbox WHERE id IN (
    SELECT id FROM outbox WHERE id < %(before)s ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED);
