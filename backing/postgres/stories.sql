-- story --
-- One statement, and so all of it as of one moment. Unknown and foreign ids look the same. Without an account it is an
-- operator who asks.
SELECT message.id, message.account_id, account.name AS account, credential.username AS credential, message.session,
       message.mail_from, message.size, message.header_message_id, message.stream, message.tags, message.smtputf8,
       message.require_tls, message.accepted_at, message.queued_at, message.claimed_at, message.expires_at,
       message.duplicate_of, message.body_key IS NOT NULL AS stored,
       (SELECT json_agg(each) FROM (
           SELECT n, address, recipient.state, provider.name AS provider, provider_message_id, code, enhanced, reply,
                  tries, next_attempt_at, routing_rule.name AS rule, redirected_to, dsn, released, ordered,
                  chosen.name AS by_order, updated_at
           FROM recipient
                LEFT JOIN provider ON provider.id = recipient.provider_id
                     AND (provider.account_id IS NULL OR provider.account_id = recipient.account_id)
                LEFT JOIN provider AS chosen ON chosen.id = recipient.by_order
                     AND (chosen.account_id IS NULL OR chosen.account_id = recipient.account_id)
                LEFT JOIN routing_rule ON routing_rule.id = recipient.rule_id
                     AND routing_rule.account_id = recipient.account_id
           WHERE recipient.message_id = message.id AND recipient.account_id = message.account_id
           ORDER BY n) AS each)::text AS recipients,
       -- Without the numbers of its recipients, an attempt was for all of them.
       (SELECT json_agg(each) FROM (
           SELECT started_at AS at, 'attempt' AS kind, provider.name AS provider, ns AS recipients,
                  coalesce(outcome, 'under way') AS outcome, code, enhanced, reply AS words,
                  attempt.finished_at AS ended_at, attempt.n AS attempt, worker, provider_message_id
           FROM delivery
                JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.account_id = delivery.account_id
                LEFT JOIN provider ON provider.id = attempt.provider_id
                     AND (provider.account_id IS NULL OR provider.account_id = attempt.account_id)
           WHERE delivery.message_id = message.id AND delivery.account_id = message.account_id
           ORDER BY started_at, attempt.n LIMIT %(most)s) AS each)::text AS attempts,
       (SELECT json_agg(each) FROM (
           SELECT occurred_at AS at, 'event' AS kind, provider.name AS provider, ARRAY[n] AS recipients,
                  provider_event.kind || CASE effect WHEN 'applied' THEN '' ELSE ' (' || effect || ')' END AS outcome,
                  (details ->> 'code')::integer AS code, details ->> 'enhanced' AS enhanced,
                  coalesce(details ->> 'text', details ->> 'reason') AS words
           FROM provider_event
                LEFT JOIN provider ON provider.id = provider_event.provider_id
                     AND (provider.account_id IS NULL OR provider.account_id = provider_event.account_id)
           WHERE provider_event.message_id = message.id AND provider_event.account_id = message.account_id
           ORDER BY occurred_at, event_id LIMIT %(most)s) AS each)::text AS events,
       -- Those that wait to be queued, and those that are messages of their own by now: one was accepted in the
       -- transaction that wrote down what it tells of.
       (SELECT json_agg(each) FROM (
           SELECT created_at AS at, 'report' AS kind, 'waits to be queued' AS outcome, sender AS words,
                  report.id AS message
           FROM report WHERE report.message_id = message.id AND report.account_id = message.account_id
           UNION ALL
           SELECT told.accepted_at, 'report', 'queued', told_to.address, told.id
           FROM message AS told
                LEFT JOIN recipient AS told_to ON told_to.message_id = told.id AND told_to.account_id = told.account_id
           WHERE told.account_id = message.account_id AND told.mail_from = '' AND told.session = message.session
                 AND told.accepted_at = ANY (ARRAY(
                     SELECT updated_at FROM recipient
                     WHERE recipient.message_id = message.id AND recipient.account_id = message.account_id
                           AND dsn IS NOT NULL
                     UNION
                     SELECT attempt.finished_at
                     FROM delivery
                          JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.account_id = delivery.account_id
                     WHERE delivery.message_id = message.id AND delivery.account_id = message.account_id
                           AND attempt.finished_at IS NOT NULL))
           ORDER BY 1) AS each)::text AS reports
FROM message LEFT JOIN account ON account.id = message.account_id
     LEFT JOIN credential ON credential.id = message.credential_id AND credential.account_id = message.account_id
WHERE message.id = %(id)s AND (%(asked_by)s::uuid IS NULL OR message.account_id = %(asked_by)s);

-- body --
SELECT body_bucket, body_key FROM message
WHERE id = %(id)s AND (%(asked_by)s::uuid IS NULL OR account_id = %(asked_by)s) AND body_key IS NOT NULL;

-- by_time --
SELECT id, accepted_at FROM message
WHERE account_id = %(account_id)s
      AND accepted_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND accepted_at <= coalesce(%(before)s::timestamptz, 'infinity')
      AND (accepted_at, id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s::uuid)
ORDER BY accepted_at DESC, id DESC LIMIT %(most)s;

-- by_recipient --
SELECT id, accepted_at FROM message
WHERE id IN (SELECT message_id FROM recipient
             WHERE account_id = %(account_id)s AND lower(address) = lower(%(recipient)s))
      AND account_id = %(account_id)s
      AND accepted_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND (accepted_at, id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s::uuid)
ORDER BY accepted_at DESC, id DESC LIMIT %(most)s;

-- by_header --
SELECT id, accepted_at FROM message
WHERE account_id = %(account_id)s AND header_message_id = ANY (%(header_ids)s)
      AND accepted_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND (accepted_at, id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s::uuid)
      AND (%(recipient)s::text IS NULL
           OR EXISTS (SELECT FROM recipient WHERE recipient.message_id = message.id
                      AND recipient.account_id = message.account_id AND lower(address) = lower(%(recipient)s)))
ORDER BY accepted_at DESC, id DESC LIMIT %(most)s;

-- by_provider --
-- Ids of attempts have an index below their provider, and of providers there are few.
SELECT id, accepted_at FROM message
WHERE id IN (SELECT delivery.message_id
             FROM provider
                  JOIN attempt ON attempt.provider_id = provider.id AND attempt.account_id = %(account_id)s
                       AND attempt.provider_message_id = ANY (%(provider_ids)s)
                  JOIN delivery ON delivery.id = attempt.delivery_id AND delivery.account_id = attempt.account_id
             WHERE provider.account_id = %(account_id)s OR provider.account_id IS NULL)
      AND account_id = %(account_id)s
      AND (%(header_ids)s::text[] IS NULL OR header_message_id = ANY (%(header_ids)s))
      AND accepted_at >= coalesce(%(since)s::timestamptz, '-infinity')
      AND (accepted_at, id) < (coalesce(%(before)s::timestamptz, 'infinity'), %(before_id)s::uuid)
      AND (%(recipient)s::text IS NULL
           OR EXISTS (SELECT FROM recipient WHERE recipient.message_id = message.id
                      AND recipient.account_id = message.account_id AND lower(address) = lower(%(recipient)s)))
ORDER BY accepted_at DESC, id DESC LIMIT %(most)s;

-- listed --
-- Messages that were found, of which a recipient stands as is asked for.
SELECT message.id, accepted_at, mail_from, header_message_id, size, stream, duplicate_of, first.address AS recipient,
       coalesce(standing.states, '{}') AS states
FROM message
     LEFT JOIN recipient AS first ON first.message_id = message.id AND first.account_id = message.account_id
          AND first.n = 0
     CROSS JOIN LATERAL (
         SELECT jsonb_object_agg(each.state, each.count) AS states
         FROM (SELECT state, count(*) FROM recipient
               WHERE recipient.message_id = message.id AND recipient.account_id = message.account_id
               GROUP BY state) AS each
     ) AS standing
WHERE message.id = ANY (%(ids)s) AND message.account_id = %(account_id)s
      AND (%(state)s::text IS NULL OR standing.states ? %(state)s)
ORDER BY accepted_at DESC, message.id DESC LIMIT %(most)s;
