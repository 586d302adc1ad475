-- hashes --
-- The hashes of an account's addresses, smallest first, 8 octets each; and where to go on from.
SELECT coalesce(string_agg(int8send(address_hash), ''::bytea ORDER BY address_hash), ''::bytea),
       pg_snapshot_xmin(pg_current_snapshot())::text
FROM (
    SELECT address_hash FROM suppression
    WHERE account_id = %(account_id)s AND (expires_at IS NULL OR expires_at > now())
    ORDER BY address_hash LIMIT %(most)s
) AS listed;

-- later_hashes --
-- Those of addresses that came after a snapshot; nothing at all where that snapshot lies in this server's future.
SELECT CASE WHEN pg_snapshot_xmin(pg_current_snapshot()) < %(since)s::xid8 THEN NULL ELSE (
           SELECT coalesce(string_agg(int8send(address_hash), ''::bytea), ''::bytea)
           FROM (
               SELECT address_hash FROM suppression
               WHERE account_id = %(account_id)s AND changed >= %(since)s::xid8
               LIMIT %(most)s
           ) AS listed
       ) END,
       pg_snapshot_xmin(pg_current_snapshot())::text;

-- find --
SELECT address, reason, source, created_at AS since, expires_at AS until FROM suppression
WHERE account_id = %(account_id)s AND address = %(address)s AND (expires_at IS NULL OR expires_at > now());

-- add --
-- What is said last about an address counts; it stays suppressed since it first was.
INSERT INTO suppression (account_id, address, reason, source, expires_at)
VALUES (%(account_id)s, %(address)s, %(reason)s, %(source)s, %(until)s)
ON CONFLICT (account_id, address) DO UPDATE
SET reason = excluded.reason, source = excluded.source, expires_at = excluded.expires_at,
    created_at = CASE WHEN suppression.expires_at <= now() THEN now() ELSE suppression.created_at END,
    changed = pg_current_xact_id();

-- remove --
DELETE FROM suppression WHERE account_id = %(account_id)s AND address = %(address)s;

-- list --
SELECT address, reason, source, created_at AS since, expires_at AS until FROM suppression
WHERE account_id = %(account_id)s ORDER BY created_at DESC, address LIMIT %(most)s;
