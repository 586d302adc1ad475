-- load --
-- All that decides where an account's mail goes: its rules, the providers it may use (its own before the shared ones,
-- so that its own count where names are the same), and the default one.
SELECT account.default_provider_id, rules.documents, providers.ids, providers.facts, providers.secrets
FROM account
     CROSS JOIN LATERAL (
         SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'id', id, 'name', name, 'priority', priority, 'enabled', enabled, 'match', match, 'action', action)),
                '[]') AS documents
         FROM routing_rule WHERE account_id = account.id
     ) AS rules
     CROSS JOIN LATERAL (
         SELECT coalesce(array_agg(id ORDER BY account_id IS NULL, name), '{}') AS ids,
                coalesce(jsonb_agg(jsonb_build_object(
                    'name', name, 'kind', kind, 'config', config, 'version', version, 'enabled', enabled,
                    'limits', limits, 'allowed_domains', allowed_domains) ORDER BY account_id IS NULL, name), '[]') AS facts,
                coalesce(array_agg(secret ORDER BY account_id IS NULL, name), '{}') AS secrets
         FROM provider WHERE account_id = account.id OR account_id IS NULL
     ) AS providers
WHERE account.id = %(account_id)s;

-- own_provider --
-- One by its owner and name; a null owner is everybody.
SELECT id, kind, config, limits, allowed_domains, enabled FROM provider
WHERE account_id IS NOT DISTINCT FROM %(account_id)s AND name = %(name)s FOR UPDATE;

-- create_provider --
INSERT INTO provider (
    id, account_id, name, kind, config, secret, secret_key, secret_sealed_at, limits, allowed_domains)
VALUES (%(id)s, %(account_id)s, %(name)s, %(kind)s, %(config)s, %(secret)s, %(secret_key)s,
        CASE WHEN %(secret)s::bytea IS NOT NULL THEN now() END, %(limits)s, %(allowed_domains)s::text[]);

-- change_provider --
UPDATE provider SET config = %(config)s, limits = %(limits)s, allowed_domains = %(allowed_domains)s::text[],
    version = version + 1
WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s;

-- set_secret --
UPDATE provider SET secret = %(secret)s, secret_key = %(secret_key)s,
    secret_sealed_at = CASE WHEN %(secret)s::bytea IS NOT NULL THEN now() END, version = version + 1
WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s;

-- switch_provider --
UPDATE provider SET enabled = %(enabled)s, version = version + 1
WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s;

-- provider_uses --
-- What would lose its way without this provider. A rule means an account's own provider before a shared one.
SELECT (SELECT array_agg(account.name ORDER BY account.name) FROM account WHERE default_provider_id = provider.id)
           AS default_of,
       (SELECT array_agg(account.name || '/' || routing_rule.name ORDER BY account.name, routing_rule.name)
        FROM routing_rule JOIN account ON account.id = routing_rule.account_id
        WHERE (routing_rule.account_id = provider.account_id
               OR provider.account_id IS NULL AND NOT EXISTS (
                   SELECT FROM provider AS own
                   WHERE own.account_id = routing_rule.account_id AND own.name = provider.name))
              AND (jsonb_path_exists(action, '$.targets[*].provider ? (@ == $name)',
                                     jsonb_build_object('name', provider.name))
                   OR jsonb_path_exists(action, '$.failover[*] ? (@ == $name)',
                                        jsonb_build_object('name', provider.name)))) AS rules,
       EXISTS (SELECT FROM recipient
               WHERE recipient.provider_id = provider.id AND state IN ('sending', 'deferred', 'unknown')
                     AND (provider.account_id IS NULL OR recipient.account_id = provider.account_id)) AS open
FROM provider WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s;

-- delete_provider --
DELETE FROM provider WHERE id = %(id)s AND account_id IS NOT DISTINCT FROM %(account_id)s;

-- list_providers --
-- All of them, or those that one account may use.
SELECT provider.name, account.name AS account, kind, provider.enabled, provider.version,
       provider.secret IS NOT NULL AS secret, provider.allowed_domains, provider.limits
FROM provider LEFT JOIN account ON account.id = provider.account_id
WHERE (%(account_id)s::uuid IS NULL OR provider.account_id = %(account_id)s OR provider.account_id IS NULL)
      AND (%(after)s::text IS NULL OR (coalesce(account.name, ''), provider.name) > (%(after)s, %(after_name)s::text))
ORDER BY coalesce(account.name, ''), provider.name LIMIT %(most)s;

-- show_provider --
SELECT provider.name, provider.id::text, account.name AS account, kind, provider.enabled, provider.version,
       provider.secret IS NOT NULL AS secret, provider.allowed_domains, provider.limits, provider.config,
       provider.secret_key,
       to_char(provider.secret_sealed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS secret_sealed_at
FROM provider LEFT JOIN account ON account.id = provider.account_id
WHERE provider.account_id IS NOT DISTINCT FROM %(account_id)s AND provider.name = %(name)s;

-- provider_names --
-- Names that a rule of this account may use.
SELECT DISTINCT name FROM provider WHERE account_id = %(account_id)s OR account_id IS NULL;

-- lock_rules --
-- One change of an account's rules at a time, so that they stay within their number.
SELECT id FROM account WHERE id = %(account_id)s FOR UPDATE;

-- count_rules --
SELECT count(*) FROM routing_rule WHERE account_id = %(account_id)s;

-- create_rule --
INSERT INTO routing_rule (id, account_id, name, priority, enabled, match, action)
VALUES (%(id)s, %(account_id)s, %(name)s, %(priority)s, %(enabled)s, %(match)s, %(action)s);

-- change_rule --
UPDATE routing_rule SET name = %(name)s, priority = %(priority)s, enabled = %(enabled)s, match = %(match)s,
    action = %(action)s, version = version + 1
WHERE account_id = %(account_id)s AND id = %(id)s;

-- delete_rule --
DELETE FROM routing_rule WHERE account_id = %(account_id)s AND id = %(id)s;

-- list_rules --
SELECT id::text, name, priority, enabled, match, action, version FROM routing_rule
WHERE account_id = %(account_id)s AND (%(after)s::bigint IS NULL OR (priority, id) > (%(after)s, %(after_id)s::uuid))
ORDER BY priority, id LIMIT %(most)s;

-- show_rule --
-- The one of a name or, since there are older names that no path can hold, of an id.
SELECT id::text, name, priority, enabled, match, action, version FROM routing_rule
WHERE account_id = %(account_id)s AND (name = %(name)s OR id::text = lower(%(name)s))
ORDER BY name = %(name)s DESC LIMIT 1;

-- credential_id --
SELECT id FROM credential WHERE account_id = %(account_id)s AND username = %(username)s;

-- telling_provider --
-- One that tells of its events by calls, of any account, enabled or not: what it took before is told still.
SELECT provider.id, provider.kind, provider.version, provider.secret, provider.name, account.name
FROM provider LEFT JOIN account ON provider.account_id = account.id
WHERE provider.id = %(id)s;
