-- find_credential --
-- The credential that signs in under this name, unless it is revoked or its account disabled. One that is over is given:
-- its sessions go on.
SELECT credential.id, credential.username, digest, password_hash, networks, certificate_name, ends_at,
       (SELECT jsonb_agg(jsonb_build_object('digest', encode(former.digest, 'hex'), 'hash', former.password_hash,
                                            'until', former.until) ORDER BY former.until DESC)
        FROM credential_former AS former
        WHERE former.credential_id = credential.id AND former.account_id = credential.account_id) AS former,
       account.id AS account_id, account.name AS account_name, allowed_domains, check_from, repair_line_ends,
       max_sessions, quotas
FROM credential JOIN account ON account.id = credential.account_id
WHERE credential.username = %(username)s AND revoked_at IS NULL AND disabled_at IS NULL;

-- find_certified --
-- The credential of the first of these certificate names that has one.
SELECT credential.id, credential.username, digest, password_hash, networks, certificate_name, ends_at,
       (SELECT jsonb_agg(jsonb_build_object('digest', encode(former.digest, 'hex'), 'hash', former.password_hash,
                                            'until', former.until) ORDER BY former.until DESC)
        FROM credential_former AS former
        WHERE former.credential_id = credential.id AND former.account_id = credential.account_id) AS former,
       account.id AS account_id, account.name AS account_name, allowed_domains, check_from, repair_line_ends,
       max_sessions, quotas
FROM credential JOIN account ON account.id = credential.account_id
WHERE certificate_name = ANY (%(names)s::text[]) AND revoked_at IS NULL AND disabled_at IS NULL
ORDER BY array_position(%(names)s::text[], certificate_name) LIMIT 1;

-- account_named --
SELECT id AS account_id, name AS account_name, allowed_domains, check_from, repair_line_ends, max_sessions, quotas
FROM account WHERE name = %(name)s AND disabled_at IS NULL;

-- put_provider --
-- Makes a provider of an account, or replaces the one of that name; workers see the new version at their next claim.
INSERT INTO provider (id, account_id, name, kind, config, secret, secret_key, secret_sealed_at)
VALUES (%(id)s, %(account_id)s, %(name)s, %(kind)s, %(config)s, %(secret)s, %(secret_key)s,
        CASE WHEN %(secret)s::bytea IS NOT NULL THEN now() END)
ON CONFLICT (account_id, name) DO UPDATE
SET kind = excluded.kind, config = excluded.config, secret = excluded.secret, secret_key = excluded.secret_key,
    secret_sealed_at = excluded.secret_sealed_at, enabled = true,
    version = provider.version + 1;

-- own_provider --
SELECT id FROM provider WHERE account_id = %(account_id)s AND name = %(name)s FOR UPDATE;

-- create_account --
INSERT INTO account (id, name, allowed_domains) VALUES (%(id)s, %(name)s, '{}');

-- lock_account --
SELECT id, quotas FROM account WHERE name = %(name)s FOR UPDATE;

-- set_account --
-- Null leaves a column as it is.
UPDATE account SET
    allowed_domains = coalesce(%(allowed_domains)s::text[], allowed_domains),
    on_unknown = coalesce(%(on_unknown)s::text, on_unknown),
    check_from = coalesce(%(check_from)s::boolean, check_from),
    repair_line_ends = coalesce(%(repair_line_ends)s::boolean, repair_line_ends),
    max_sessions = CASE WHEN %(no_max_sessions)s THEN NULL ELSE coalesce(%(max_sessions)s::integer, max_sessions) END,
    quotas = %(quotas)s,
    -- Keys that are not there leave their columns as they are, and null is null.
    (retry_seconds, expiry_seconds, send_dsn, delay_notice_seconds, retention_days, archive) = (
        SELECT delivery.retry_seconds, delivery.expiry_seconds, delivery.send_dsn, delivery.delay_notice_seconds,
               delivery.retention_days, delivery.archive
        FROM jsonb_populate_record(account, %(delivery)s) AS delivery)
WHERE id = %(id)s;

-- set_default_provider --
UPDATE account SET default_provider_id = %(provider_id)s WHERE id = %(account_id)s;

-- create_credential --
INSERT INTO credential (id, account_id, username, digest, password_hash, networks, certificate_name, ends_at)
VALUES (%(id)s, %(account_id)s, %(username)s, %(digest)s, %(password_hash)s, %(networks)s::cidr[],
        %(certificate_name)s, %(ends_at)s);

-- find_account --
SELECT id FROM account WHERE name = %(name)s;

-- find_provider --
-- A provider that this account may use: its own, or one shared by all.
SELECT id FROM provider
WHERE name = %(name)s AND (account_id = %(account_id)s OR account_id IS NULL)
ORDER BY account_id NULLS LAST LIMIT 1;

-- list_accounts --
-- All of them, or the one that asks.
SELECT account.name, account.allowed_domains, provider.name AS provider, account.disabled_at IS NOT NULL AS disabled,
       (SELECT count(*) FROM credential WHERE credential.account_id = account.id AND revoked_at IS NULL) AS credentials
FROM account LEFT JOIN provider ON provider.id = account.default_provider_id
WHERE (%(name)s::text IS NULL OR account.name = %(name)s)
      AND (%(after)s::text IS NULL OR account.name > %(after)s)
ORDER BY account.name LIMIT %(most)s;

-- show_account --
SELECT account.name, account.id::text, disabled_at IS NOT NULL AS disabled, account.allowed_domains,
       provider.name AS provider,
       on_unknown, check_from, repair_line_ends, max_sessions, quotas, retry_seconds, expiry_seconds, send_dsn,
       delay_notice_seconds, retention_days, archive,
       (SELECT count(*) FROM routing_rule WHERE routing_rule.account_id = account.id) AS rules,
       (SELECT count(*) FROM credential WHERE credential.account_id = account.id AND revoked_at IS NULL) AS credentials,
       (SELECT count(*) FROM suppression WHERE suppression.account_id = account.id) AS suppressed
FROM account LEFT JOIN provider ON provider.id = account.default_provider_id
WHERE account.name = %(name)s;

-- disable_account --
UPDATE account SET disabled_at = now() WHERE name = %(name)s AND disabled_at IS NULL RETURNING id;

-- enable_account --
UPDATE account SET disabled_at = NULL WHERE name = %(name)s AND disabled_at IS NOT NULL RETURNING id;

-- account_goods --
-- What goes with an account, and what keeps it from going.
SELECT id, disabled_at IS NOT NULL AS disabled,
       EXISTS (SELECT FROM message JOIN delivery ON delivery.message_id = message.id
               WHERE message.account_id = account.id AND delivery.state <> 'done') AS undelivered,
       (SELECT count(*) FROM credential WHERE account_id = account.id) AS credentials,
       (SELECT count(*) FROM provider WHERE account_id = account.id) AS providers,
       (SELECT count(*) FROM routing_rule WHERE account_id = account.id) AS routing_rules,
       (SELECT count(*) FROM suppression WHERE account_id = account.id) AS suppressed
FROM account WHERE name = %(name)s;

-- delete_account --
DELETE FROM account WHERE id = %(id)s;

-- list_credentials --
SELECT username,
       CASE WHEN digest IS NOT NULL THEN 'generated' WHEN password_hash IS NOT NULL THEN 'chosen' ELSE 'none' END
           AS password,
       networks::text[], certificate_name, revoked_at IS NOT NULL AS revoked,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created,
       to_char(ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS expires_at,
       coalesce(ends_at <= now(), false) AS expired,
       to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS last_used_at,
       (SELECT to_char(max(former.until) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM credential_former AS former
        WHERE former.credential_id = credential.id AND former.account_id = credential.account_id
              AND former.until > now()) AS rotating_until
FROM credential LEFT JOIN credential_use ON credential_use.credential_id = credential.id
     AND credential_use.account_id = credential.account_id
WHERE credential.account_id = %(account_id)s AND (%(after)s::text IS NULL OR username > %(after)s)
ORDER BY username LIMIT %(most)s;

-- lock_credential --
-- One that signs in, and how many passwords of before are good beside its own.
SELECT id, account_id, num_nonnulls(digest, password_hash) = 1 AS has_password,
       (SELECT count(*) FROM credential_former AS former
        WHERE former.credential_id = credential.id AND former.account_id = credential.account_id
              AND former.until > now()) AS former,
       (SELECT account.name FROM account WHERE account.id = credential.account_id) AS account
FROM credential
WHERE username = %(username)s AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now())
      AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
FOR UPDATE;

-- end_formers --
-- Passwords of before end with the overlap, too; those that are over go.
DELETE FROM credential_former
WHERE credential_id = %(id)s AND account_id = %(account_id)s AND (until <= now() OR %(overlap)s <= 0);

-- shorten_formers --
UPDATE credential_former SET until = least(until, now() + make_interval(secs => %(overlap)s))
WHERE credential_id = %(id)s AND account_id = %(account_id)s;

-- keep_former --
INSERT INTO credential_former (credential_id, account_id, digest, password_hash, until)
SELECT id, account_id, digest, password_hash, now() + make_interval(secs => %(overlap)s)
FROM credential WHERE id = %(id)s AND account_id = %(account_id)s AND %(overlap)s > 0;

-- change_password --
UPDATE credential SET digest = %(digest)s, password_hash = %(password_hash)s
WHERE id = %(id)s AND account_id = %(account_id)s;

-- note_uses --
-- To the minute: several relays see the same credential.
INSERT INTO credential_use AS known (credential_id, account_id, last_used_at)
SELECT credential.id, credential.account_id, used.at
FROM unnest(%(ids)s::uuid[], %(times)s::timestamptz[]) AS used (id, at) JOIN credential ON credential.id = used.id
ORDER BY credential.id
ON CONFLICT (credential_id) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE known.last_used_at < excluded.last_used_at - interval '1 minute';

-- revoke_credential --
UPDATE credential SET revoked_at = now()
WHERE username = %(username)s AND revoked_at IS NULL
      AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)
RETURNING account_id;
