-- hashes --
-- The hashes of an account's addresses, smallest first, 8 octets each; and where to go on from.
SELECT coalesce(string_agg(int8send(address_hash), ''::bytea ORDER BY address_hash), ''::bytea),
       pg_snapshot_xmin(pg_current_snapshot())::text
FROM (
    SELECT address_hash FROM suppression
    WHERE account_id = %(account_id)s AND stream = '' AND (expires_at IS NULL OR expires_at > now())
    ORDER BY address_hash LIMIT %(most)s
) AS listed;

-- later_hashes --
-- Those of addresses that came after a snapshot; nothing at all where that snapshot lies in this server's future.
SELECT CASE WHEN pg_snapshot_xmin(pg_current_snapshot()) < %(since)s::xid8 THEN NULL ELSE (
           SELECT coalesce(string_agg(int8send(address_hash), ''::bytea), ''::bytea)
           FROM (
               SELECT address_hash FROM suppression
               WHERE account_id = %(account_id)s AND stream = '' AND changed >= %(since)s::xid8
               LIMIT %(most)s
           ) AS listed
       ) END,
       pg_snapshot_xmin(pg_current_snapshot())::text;

-- find --
SELECT address, reason, source, created_at AS since, expires_at AS until, stream FROM suppression
WHERE account_id = %(account_id)s AND address = %(address)s AND stream = ''
      AND (expires_at IS NULL OR expires_at > now());

-- suppressed --
-- Of one stream, and of all; what is suppressed for all comes first.
SELECT DISTINCT ON (address) address, reason, source, created_at AS since, expires_at AS until, stream
FROM suppression
WHERE account_id = %(account_id)s AND address = ANY (%(addresses)s) AND stream IN ('', %(stream)s)
      AND (expires_at IS NULL OR expires_at > now())
ORDER BY address, stream;

-- add --
-- What is said last about an address counts; it stays suppressed since it first was. Accounts that are no more have
-- no list.
INSERT INTO suppression (account_id, address, stream, reason, source, expires_at)
SELECT account.id, said.address, said.stream, said.reason, said.source, said.until
FROM jsonb_to_recordset(%(several)s) AS said (
         account_id uuid, address text, stream text, reason text, source text, until timestamptz)
     JOIN account ON account.id = said.account_id
ORDER BY account.id, said.address, said.stream
ON CONFLICT (account_id, address, stream) DO UPDATE
SET reason = excluded.reason, source = excluded.source, expires_at = excluded.expires_at,
    created_at = CASE WHEN suppression.expires_at <= now() THEN now() ELSE suppression.created_at END,
    changed = pg_current_xact_id();

-- remove --
-- In one stream, or in all.
DELETE FROM suppression
WHERE account_id = %(account_id)s AND address = %(address)s AND stream = coalesce(%(stream)s::text, stream);

-- list --
SELECT address, reason, source, created_at AS since, expires_at AS until, stream FROM suppression
WHERE account_id = %(account_id)s
      AND created_at <= coalesce(%(before)s::timestamptz, 'infinity')
      AND (%(before)s::timestamptz IS NULL
           OR (created_at, address, stream) < (%(before)s, %(before_address)s, %(before_stream)s))
ORDER BY created_at DESC, address DESC, stream DESC LIMIT %(most)s;

-- export --
-- All of it, page by page in the order of the key, in which nothing moves.
SELECT address, reason, source, created_at AS since, expires_at AS until, stream FROM suppression
WHERE account_id = %(account_id)s AND (address, stream) > (%(after_address)s, %(after_stream)s)
ORDER BY address, stream LIMIT %(most)s;
