-- find_credential --
-- The credential that signs in under this name, unless it or its account is no longer valid.
SELECT credential.id, credential.username, credential.digest, account.id, account.name, account.allowed_domains
FROM credential JOIN account ON account.id = credential.account_id
WHERE credential.username = %(username)s AND credential.revoked_at IS NULL AND account.disabled_at IS NULL;

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
INSERT INTO account (id, name, allowed_domains, on_unknown)
VALUES (%(id)s, %(name)s, %(allowed_domains)s, %(on_unknown)s);

-- set_default_provider --
UPDATE account SET default_provider_id = %(provider_id)s WHERE id = %(account_id)s;

-- create_credential --
INSERT INTO credential (id, account_id, username, digest)
VALUES (%(id)s, %(account_id)s, %(username)s, %(digest)s);

-- find_account --
SELECT id FROM account WHERE name = %(name)s;

-- find_provider --
-- A provider that this account may use: its own, or one shared by all.
SELECT id FROM provider
WHERE name = %(name)s AND (account_id = %(account_id)s OR account_id IS NULL)
ORDER BY account_id NULLS LAST LIMIT 1;

-- list_accounts --
SELECT account.name, account.allowed_domains, provider.name, account.disabled_at IS NOT NULL,
       (SELECT count(*) FROM credential WHERE credential.account_id = account.id AND revoked_at IS NULL)
FROM account LEFT JOIN provider ON provider.id = account.default_provider_id
ORDER BY account.name;

-- disable_account --
UPDATE account SET disabled_at = now() WHERE name = %(name)s AND disabled_at IS NULL;

-- revoke_credential --
UPDATE credential SET revoked_at = now() WHERE username = %(username)s AND revoked_at IS NULL;
