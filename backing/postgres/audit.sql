-- changed --
-- A transaction has an id of its own once it has changed something. One that only reads may not even try to write.
SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS changed;

-- note --
INSERT INTO audit_log (id, account_id, actor, action, subject, request, peer)
SELECT %(id)s, coalesce((SELECT id FROM account WHERE name = %(account)s::text), %(account_id)s::uuid), %(actor)s::text, %(action)s::text,
       %(subject)s::text, %(request)s::text, %(peer)s::text;

-- list --
SELECT audit_log.id, at, account.name AS account, actor, action, subject, request, peer
FROM audit_log LEFT JOIN account ON account.id = audit_log.account_id
WHERE (%(account_id)s::uuid IS NULL OR audit_log.account_id = %(account_id)s)
      AND audit_log.id < coalesce(%(before)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY audit_log.id DESC LIMIT %(most)s;
