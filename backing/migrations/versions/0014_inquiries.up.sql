-- Which KMS key the data key of a secret is encrypted with, and since when; null: sealed before this was written down.
ALTER TABLE provider
    ADD secret_key        text,
    ADD secret_sealed_at  timestamptz;
ALTER TABLE webhook_endpoint
    ADD secret_key        text,
    ADD secret_sealed_at  timestamptz;

-- Questions to workers, which alone reach providers and seal secrets anew; asked by a row, answered in it.
CREATE TABLE inquiry (
    id           uuid PRIMARY KEY,
    account_id   uuid REFERENCES account (id) ON DELETE CASCADE,    -- null: of a provider that all share
    provider_id  uuid REFERENCES provider (id) ON DELETE CASCADE,
    endpoint_id  uuid REFERENCES webhook_endpoint (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('test', 'reseal')),
    arguments    jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(arguments) = 'object'),
    asked_at     timestamptz NOT NULL DEFAULT now(),
    asked_by     text NOT NULL,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'taken', 'done', 'failed', 'unknown')),
    tries        integer NOT NULL DEFAULT 0,           -- fencing, too: an answer carries the number of its try
    taken_until  timestamptz,                          -- when the lease of the worker that has it is over
    answered_at  timestamptz,
    outcome      jsonb,
    CHECK (num_nonnulls(provider_id, endpoint_id) = 1),
    CHECK (kind = 'reseal' OR provider_id IS NOT NULL),
    CHECK (state IN ('waiting', 'taken') = (answered_at IS NULL)),
    CHECK ((state = 'taken') = (taken_until IS NOT NULL))
);
CREATE INDEX inquiry_open ON inquiry (id) WHERE state IN ('waiting', 'taken');
CREATE INDEX inquiry_account ON inquiry (account_id);
CREATE INDEX inquiry_provider ON inquiry (provider_id, id);
CREATE INDEX inquiry_endpoint ON inquiry (endpoint_id) WHERE endpoint_id IS NOT NULL;
-- A secret is sealed anew once, however often that is asked for meanwhile.
CREATE UNIQUE INDEX inquiry_reseal ON inquiry (coalesce(provider_id, endpoint_id))
    WHERE kind = 'reseal' AND state IN ('waiting', 'taken');
