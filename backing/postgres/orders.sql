-- lock --
-- The work on a message, in the order in which claims and results lock it; nobody takes it up meanwhile. Its message is
-- locked after it, if at all, as by them.
SELECT delivery.id, delivery.account_id, delivery.state, message.body_key IS NOT NULL
FROM message
     JOIN delivery ON delivery.message_id = message.id AND delivery.account_id = message.account_id
WHERE message.id = %(id)s AND (%(account_id)s::uuid IS NULL OR message.account_id = %(account_id)s)
ORDER BY delivery.id
FOR NO KEY UPDATE OF delivery;

-- owner --
SELECT account_id FROM message
WHERE id = %(id)s AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s);

-- duplicate --
SELECT duplicate_of FROM message
WHERE id = %(id)s AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s);

-- standing --
SELECT n, state, delivery_id FROM recipient WHERE message_id = %(id)s AND account_id = %(account_id)s ORDER BY n;

-- move --
-- What is sent once more begins its schedule anew, and what is let go is held by no rule again. What is routed again is
-- as if nothing had been ordered of it.
UPDATE recipient
SET state = %(state)s, updated_at = now(), reply = concat_ws('; last reply: ', %(words)s::text, reply),
    tries = CASE WHEN %(again)s THEN 0 ELSE tries END, next_attempt_at = CASE WHEN %(again)s THEN now() END,
    released = (released OR %(released)s) AND NOT %(by_rules)s,
    by_order = CASE WHEN NOT %(by_rules)s THEN coalesce(%(through)s::uuid, by_order) END, ordered = %(ordered)s
WHERE message_id = %(id)s AND account_id = %(account_id)s AND n = ANY (%(ns)s);

-- prolong --
-- Who sends an old message once more means it to be sent: it gets as much time as it had at first, at most the most that
-- an account may give its mail.
UPDATE message
SET expires_at = greatest(expires_at, now() + least(
        coalesce((SELECT make_interval(secs => account.expiry_seconds) FROM account
                  WHERE account.id = message.account_id),
                 expires_at - accepted_at),
        interval '5 days'))
WHERE id = %(id)s AND account_id = %(account_id)s;

-- wake --
-- Due now: the dispatcher puts it on the queue. What rides there with its body comes by itself.
UPDATE delivery
SET state = %(state)s, next_attempt_at = now(), dispatch_at = CASE WHEN %(stored)s THEN now() END, finished_at = NULL
WHERE id = %(delivery_id)s AND account_id = %(account_id)s;

-- rest --
-- Nothing of it waits to be sent any more; a copy on the queue is found to be finished.
UPDATE delivery
SET state = %(state)s, next_attempt_at = NULL, dispatch_at = NULL, lease_owner = NULL, lease_until = NULL,
    finished_at = CASE WHEN %(state)s = 'done' THEN now() END
WHERE id = %(delivery_id)s AND account_id = %(account_id)s;

-- through --
-- One that the account may use, its own before a shared one of the same name; disabled ones send nothing.
SELECT id, allowed_domains FROM provider
WHERE name = %(name)s AND enabled AND (account_id = %(account_id)s OR account_id IS NULL)
ORDER BY account_id IS NULL LIMIT 1;

-- sender --
SELECT mail_from FROM message WHERE id = %(id)s AND account_id = %(account_id)s;
