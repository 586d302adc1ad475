-- begin --
-- Held until the transaction ends: who gets it not comes while another one is at it.
SELECT pg_try_advisory_xact_lock(%(lock)s);

-- find --
SELECT fingerprint, status, answer, made, place FROM api_request
WHERE account_id IS NOT DISTINCT FROM %(account_id)s AND operation = %(operation)s AND key = %(key)s
      AND expires_at > now();

-- keep --
-- One that is over makes room.
INSERT INTO api_request (account_id, operation, key, fingerprint, status, answer, made, place, expires_at)
VALUES (%(account_id)s, %(operation)s, %(key)s, %(fingerprint)s, %(status)s, %(answer)s, %(made)s,
        %(place)s, now() + make_interval(secs => %(seconds)s))
ON CONFLICT (account_id, operation, key) DO UPDATE
SET fingerprint = excluded.fingerprint, status = excluded.status, answer = excluded.answer, made = excluded.made,
    place = excluded.place, expires_at = excluded.expires_at;
