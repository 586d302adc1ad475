-- record --
-- Keep events that were not told before, in the order of their keys, so that two callers never wait for each other.
INSERT INTO provider_event (provider_id, event_id, kind, address, occurred_at, details, effect)
SELECT provider_id, event_id, kind, address, occurred_at, details, effect
FROM jsonb_to_recordset(%(events)s) AS told (
    provider_id uuid, event_id text, kind text, address text, occurred_at timestamptz, details jsonb, effect text)
ORDER BY provider_id, event_id
ON CONFLICT (provider_id, event_id) DO NOTHING
RETURNING event_id;

-- pending --
-- Events that came before what they are about was written down; those that another process holds are its business.
SELECT provider_id, event_id, kind, address, occurred_at, details FROM provider_event
WHERE look_at <= now()
ORDER BY look_at
LIMIT %(most)s
FOR NO KEY UPDATE SKIP LOCKED;

-- match --
-- The recipient that each event is about, by our tags or by the provider's name for the message. A provider that
-- belongs to an account tells of no other account's mail.
SELECT DISTINCT ON (told.k)
       told.k, provider.name, found.account_id, found.message_id, found.n, found.delivery_id
FROM jsonb_to_recordset(%(events)s) AS told (
         k integer, provider_id uuid, address text, message_id uuid, n integer, names jsonb)
     JOIN provider ON provider.id = told.provider_id
     CROSS JOIN LATERAL (
         SELECT recipient.account_id, recipient.message_id, recipient.n, recipient.delivery_id
         FROM recipient
         WHERE recipient.message_id = told.message_id
               AND CASE WHEN told.n IS NULL
                        THEN lower(told.address) IN (lower(recipient.address), lower(recipient.redirected_to))
                        ELSE recipient.n = told.n END
         UNION ALL
         SELECT recipient.account_id, recipient.message_id, recipient.n, recipient.delivery_id
         FROM attempt JOIN recipient
              ON recipient.delivery_id = attempt.delivery_id AND recipient.account_id = attempt.account_id
                 AND (attempt.ns IS NULL OR recipient.n = ANY (attempt.ns))
         WHERE told.message_id IS NULL AND attempt.provider_id = told.provider_id
               AND attempt.provider_message_id IS NOT NULL
               AND attempt.provider_message_id IN (told.names ->> 0, told.names ->> 1)
               AND lower(told.address) IN (lower(recipient.address), lower(recipient.redirected_to))
     ) AS found
WHERE provider.account_id IS NULL OR provider.account_id = found.account_id
ORDER BY told.k, found.message_id, found.n;

-- lock --
-- Before recipients are looked at, in the order in which claims and results lock deliveries as well.
SELECT delivery.id FROM delivery
     JOIN jsonb_to_recordset(%(found)s) AS found (delivery_id uuid, account_id uuid)
     ON delivery.id = found.delivery_id AND delivery.account_id = found.account_id
ORDER BY delivery.id
FOR NO KEY UPDATE OF delivery;

-- standing --
-- With the provider that was asked last, as the attempts say: they are written before it is asked.
SELECT recipient.message_id, recipient.n, recipient.account_id, recipient.state,
       CASE WHEN last.n IS NULL THEN recipient.provider_id ELSE last.provider_id END,
       coalesce(recipient.redirected_to, recipient.address), delivery.id, delivery.state = 'sending', message.stream
FROM (SELECT DISTINCT * FROM jsonb_to_recordset(%(found)s) AS found (message_id uuid, n integer, account_id uuid))
     AS found
     JOIN recipient ON recipient.message_id = found.message_id AND recipient.n = found.n
                    AND recipient.account_id = found.account_id
     JOIN delivery ON delivery.id = recipient.delivery_id AND delivery.account_id = recipient.account_id
     JOIN message ON message.id = recipient.message_id AND message.account_id = recipient.account_id
     LEFT JOIN LATERAL (
         SELECT attempt.n, attempt.provider_id FROM attempt
         WHERE attempt.delivery_id = recipient.delivery_id AND attempt.account_id = recipient.account_id
               AND (attempt.ns IS NULL OR recipient.n = ANY (attempt.ns))
         ORDER BY attempt.n DESC LIMIT 1
     ) AS last ON true;

-- move --
UPDATE recipient
SET state = moved.state, code = moved.code, enhanced = moved.enhanced, reply = moved.reply,
    provider_id = moved.provider_id,
    provider_message_id = CASE WHEN recipient.provider_id = moved.provider_id
                               THEN coalesce(recipient.provider_message_id, moved.provider_message_id)
                               ELSE moved.provider_message_id END,
    next_attempt_at = NULL, event_at = moved.occurred_at, updated_at = now()
FROM jsonb_to_recordset(%(moved)s) AS moved (
    message_id uuid, n integer, account_id uuid, state text, code integer, enhanced text, reply text,
    provider_id uuid, provider_message_id text, occurred_at timestamptz)
WHERE recipient.message_id = moved.message_id AND recipient.n = moved.n AND recipient.account_id = moved.account_id;

-- finish --
-- Nothing is left to send of deliveries whose last unsettled recipient an event has settled.
UPDATE delivery
SET state = 'done', lease_owner = NULL, lease_until = NULL, next_attempt_at = NULL, dispatch_at = NULL,
    finished_at = now()
FROM jsonb_to_recordset(%(deliveries)s) AS resolved (delivery_id uuid, account_id uuid)
WHERE delivery.id = resolved.delivery_id AND delivery.account_id = resolved.account_id
      AND delivery.state NOT IN ('sending', 'done')
      AND NOT EXISTS (SELECT FROM recipient
                      WHERE recipient.delivery_id = delivery.id AND recipient.account_id = delivery.account_id
                            AND recipient.state <> ALL (%(settled)s));

-- note --
-- Write down what became of events. They are looked at again after a third of their age, and what waits for a worker
-- before an unknown outcome would be acted on; what nobody knows for an hour is somebody else's.
UPDATE provider_event
SET account_id = noted.account_id, message_id = noted.message_id, n = noted.n, effect = noted.effect,
    look_at = CASE
        WHEN noted.effect = 'unmatched' AND received_at > now() - make_interval(secs => %(unmatched)s)
             OR noted.effect = 'waiting' AND received_at > now() - make_interval(secs => %(waiting)s)
        THEN now() + least(greatest((now() - received_at) / 3, interval '2 seconds'),
                           CASE noted.effect WHEN 'waiting' THEN interval '30 seconds' ELSE interval '5 minutes' END)
        END
FROM jsonb_to_recordset(%(noted)s) AS noted (
    provider_id uuid, event_id text, account_id uuid, message_id uuid, n integer, effect text)
WHERE provider_event.provider_id = noted.provider_id AND provider_event.event_id = noted.event_id;

-- forget --
DELETE FROM provider_event WHERE (provider_id, event_id) IN (
    SELECT provider_id, event_id FROM provider_event
    WHERE received_at < now() - make_interval(secs => %(age)s)
    ORDER BY received_at LIMIT %(most)s FOR UPDATE SKIP LOCKED);

-- ses_providers --
-- Which SES provider each event is of: the one that sends through its configuration set, else the only one there is,
-- else the one that was asked to send the message.
WITH ses AS (
    SELECT id, config ->> 'configuration_set' AS configuration_set, count(*) OVER () AS in_all
    FROM provider WHERE kind = 'ses'
)
SELECT told.k, coalesce(
    (SELECT (array_agg(ses.id))[1] FROM ses WHERE ses.configuration_set = told.channel HAVING count(*) = 1),
    (SELECT ses.id FROM ses WHERE ses.in_all = 1),
    (SELECT attempt.provider_id
     FROM delivery
          JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.account_id = delivery.account_id
          JOIN ses ON ses.id = attempt.provider_id
     WHERE delivery.message_id = told.message_id
     ORDER BY attempt.started_at DESC LIMIT 1))
FROM jsonb_to_recordset(%(events)s) AS told (k integer, channel text, message_id uuid);
