ALTER TABLE account
    -- Seconds between attempts and till a message expires; null: the worker's own.
    ADD retry_seconds   integer[] CHECK (cardinality(retry_seconds) > 0 AND 0 < ALL (retry_seconds)),
    ADD expiry_seconds  integer CHECK (expiry_seconds BETWEEN 300 AND 432000),
    ADD send_dsn        boolean NOT NULL DEFAULT true,
    -- Age at which a sender who asked for it is told of a delay; null: never.
    ADD delay_notice_seconds integer CHECK (delay_notice_seconds > 0),
    ADD retention_days  integer CHECK (retention_days > 0),    -- null: the worker's own
    ADD archive         boolean NOT NULL DEFAULT false;

ALTER TABLE provider
    -- See worker/control: {"rate": 14, "concurrency": 64, "daily": 50000, "warm_up": {...}}
    ADD limits           jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(limits) = 'object'),
    ADD allowed_domains  text[];                               -- null: any sender's

ALTER TABLE message
    ADD stream  text NOT NULL DEFAULT '' CHECK (length(stream) <= 64),
    ADD tags    text[] NOT NULL DEFAULT '{}';

ALTER TABLE recipient
    DROP CONSTRAINT recipient_state_check,
    ADD CONSTRAINT recipient_state_check CHECK (state IN (
        'queued', 'sending', 'deferred', 'unknown', 'held', 'accepted', 'delivered', 'bounced', 'complained',
        'failed', 'expired', 'suppressed', 'discarded', 'cancelled')),
    ADD provider_id          uuid,                             -- the one that was asked last
    ADD provider_message_id  text,
    ADD rule_id              uuid,                             -- that chose its way
    ADD redirected_to        text,
    ADD tries                integer NOT NULL DEFAULT 0,       -- that count against the retry schedule
    ADD next_attempt_at      timestamptz,
    ADD event_at             timestamptz,                      -- of the provider's latest event
    ADD dsn                  text CHECK (dsn IN ('failed', 'delayed'));    -- the latest the sender was told

ALTER TABLE attempt
    ADD ns                   integer[],                        -- the recipients it was for; null: all of them
    ADD rule_id              uuid,
    ADD provider_message_id  text,
    ADD retry_after          double precision;
CREATE INDEX attempt_provider_message ON attempt (provider_id, provider_message_id) WHERE provider_message_id IS NOT NULL;

-- Reports to senders (RFC 3464) that are not on the queue yet.
CREATE TABLE report (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL,
    message_id  uuid NOT NULL REFERENCES message (id) ON DELETE CASCADE,    -- that it is about
    sender      text NOT NULL,
    body        bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX report_time ON report (created_at);
CREATE INDEX report_message ON report (message_id);
