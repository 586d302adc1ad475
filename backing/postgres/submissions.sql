-- claim --
-- What is over makes room for new ones, a few at a time; of this key, it is begun anew.
WITH gone AS (
    DELETE FROM api_submission WHERE (account_id, key) IN (
        SELECT account_id, key FROM api_submission
        WHERE expires_at < now() AND NOT (account_id = %(account_id)s AND key = %(key)s)
        LIMIT 10 FOR UPDATE SKIP LOCKED)
)
INSERT INTO api_submission AS kept (account_id, key, fingerprint, message_id, expires_at)
VALUES (%(account_id)s, %(key)s, %(fingerprint)s, %(message_id)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (account_id, key) DO UPDATE
SET fingerprint = CASE WHEN kept.expires_at < now() THEN excluded.fingerprint ELSE kept.fingerprint END,
    message_id = CASE WHEN kept.expires_at < now() THEN excluded.message_id ELSE kept.message_id END,
    confirmed = kept.confirmed AND kept.expires_at >= now(),
    expires_at = CASE WHEN kept.expires_at < now() THEN excluded.expires_at ELSE kept.expires_at END
RETURNING fingerprint, message_id, confirmed;

-- confirm --
UPDATE api_submission SET confirmed = true
WHERE account_id = %(account_id)s AND key = %(key)s AND message_id = %(message_id)s;

-- note --
-- What came without a key, under its id, which no digest can be; some of what is over makes room, as for a claim.
WITH gone AS (
    DELETE FROM api_submission WHERE (account_id, key) IN (
        SELECT account_id, key FROM api_submission WHERE expires_at < now() LIMIT 10 FOR UPDATE SKIP LOCKED)
)
INSERT INTO api_submission (account_id, key, fingerprint, message_id, confirmed, expires_at)
VALUES (%(account_id)s, uuid_send(%(message_id)s::uuid), %(fingerprint)s, %(message_id)s, true,
        now() + make_interval(secs => %(seconds)s))
ON CONFLICT (account_id, key) DO NOTHING;

-- accepted --
-- Unknown and foreign ids look the same. Without an account it is an operator who asks.
SELECT message_id AS id, api_submission.account_id, account.name AS account,
       api_submission.expires_at - make_interval(secs => %(seconds)s) AS accepted_at
FROM api_submission LEFT JOIN account ON account.id = api_submission.account_id
WHERE message_id = %(id)s AND confirmed AND api_submission.expires_at >= now()
      AND (%(asked_by)s::uuid IS NULL OR api_submission.account_id = %(asked_by)s);
