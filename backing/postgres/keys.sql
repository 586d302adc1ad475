-- find_key --
-- The key with this prefix, unless it or its account is no longer valid.
SELECT api_key.id, prefix, api_key.name, digest, account_id, account.name AS account, scopes, rate_per_minute,
       expires_at
FROM api_key LEFT JOIN account ON account.id = account_id
WHERE prefix = %(prefix)s AND revoked_at IS NULL AND disabled_at IS NULL AND (expires_at IS NULL OR expires_at > now());

-- use_key --
UPDATE api_key SET last_used_at = now()
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute');

-- create_key --
INSERT INTO api_key (id, account_id, name, prefix, digest, scopes, rate_per_minute, expires_at)
VALUES (%(id)s, %(account_id)s, %(name)s, %(prefix)s, %(digest)s, %(scopes)s, %(rate_per_minute)s, %(expires_at)s);

-- list_keys --
-- Of one account; without one, of operators.
SELECT id::text, name, prefix, scopes, rate_per_minute, created_at, expires_at, last_used_at, revoked_at
FROM api_key WHERE account_id IS NOT DISTINCT FROM %(account_id)s AND (%(after)s::uuid IS NULL OR id > %(after)s)
ORDER BY id LIMIT %(most)s;

-- lock_key --
SELECT id, name, scopes, rate_per_minute, expires_at FROM api_key
WHERE prefix = %(prefix)s AND account_id IS NOT DISTINCT FROM %(account_id)s AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now())
FOR UPDATE;

-- expire_key --
UPDATE api_key SET expires_at = least(expires_at, now() + make_interval(secs => %(overlap)s)) WHERE id = %(id)s;

-- revoke_key --
UPDATE api_key SET revoked_at = now()
WHERE prefix = %(prefix)s AND account_id IS NOT DISTINCT FROM %(account_id)s AND revoked_at IS NULL RETURNING id;
