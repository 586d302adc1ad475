-- What providers told, once each; the same event told again finds its row.
CREATE TABLE provider_event (
    provider_id  uuid NOT NULL,                        -- no foreign key: events outlive their provider
    event_id     text COLLATE "C" NOT NULL CHECK (octet_length(event_id) BETWEEN 1 AND 64),
    account_id   uuid,                                 -- these three are null while no recipient is known for it
    message_id   uuid,
    n            integer,
    kind         text NOT NULL CHECK (kind IN (
        'accepted', 'deferred', 'delivered', 'bounced', 'rejected', 'complained', 'opened', 'clicked', 'unsubscribed',
        'call')),                                      -- a call that may come once; see mail/events/verify.py
    address      text NOT NULL CHECK (length(address) <= 320),
    occurred_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    effect       text NOT NULL CHECK (effect IN ('applied', 'stale', 'waiting', 'unmatched')),
    look_at      timestamptz,                          -- when to look again; null: never
    details      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object' AND pg_column_size(details) <= 8192),
    PRIMARY KEY (provider_id, event_id)
);
CREATE INDEX provider_event_received ON provider_event (received_at);
CREATE INDEX provider_event_message ON provider_event (message_id, n) WHERE message_id IS NOT NULL;
CREATE INDEX provider_event_look ON provider_event (look_at) WHERE look_at IS NOT NULL;

-- Who does not want the newsletter still wants the invoice: a suppression may be for one stream.
DROP INDEX suppression_hash, suppression_changed;
ALTER TABLE suppression
    ADD stream text COLLATE "C" NOT NULL DEFAULT '' CHECK (length(stream) <= 64),    -- empty: every stream
    DROP CONSTRAINT suppression_pkey,
    ADD PRIMARY KEY (account_id, address, stream);
-- The relay's: it does not know the stream yet, and refuses only what no stream takes.
CREATE INDEX suppression_hash ON suppression (account_id, address_hash) WHERE stream = '';
CREATE INDEX suppression_changed ON suppression (account_id, changed) WHERE stream = '';
