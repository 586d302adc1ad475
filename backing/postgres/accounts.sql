-- find_credential --
-- The credential that signs in under this name, unless it or its account is no longer valid.
SELECT credential.id, credential.username, digest, password_hash, networks, certificate_name,
       account.id AS account_id, account.name AS account_name, allowed_domains, check_from, repair_line_ends,
       max_sessions, quotas
FROM credential JOIN account ON account.id = credential.account_id
WHERE credential.username = %(username)s AND revoked_at IS NULL AND disabled_at IS NULL;

-- find_certified --
-- The credential of the first of these certificate names that has one.
SELECT credential.id, credential.username, digest, password_hash, networks, certificate_name,
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
INSERT INTO provider (id, account_id, name, kind, config, secret)
VALUES (%(id)s, %(account_id)s, %(name)s, %(kind)s, %(config)s, %(secret)s)
ON CONFLICT (account_id, name) DO UPDATE
SET kind = excluded.kind, config = excluded.config, secret = excluded.secret, enabled = true,
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
INSERT INTO credential (id, account_id, username, digest, password_hash, networks, certificate_name)
VALUES (%(id)s, %(account_id)s, %(username)s, %(digest)s, %(password_hash)s, %(networks)s::cidr[],
        %(certificate_name)s);

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
WHERE %(name)s::text IS NULL OR account.name = %(name)s
ORDER BY account.name;

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
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created
FROM credential WHERE account_id = %(account_id)s ORDER BY username;

-- revoke_credential --
UPDATE credential SET revoked_at = now()
WHERE username = %(username)s AND revoked_at IS NULL
      AND (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s);
