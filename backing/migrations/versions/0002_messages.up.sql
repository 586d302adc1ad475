-- Written by the worker at the claim; the accept path needs no database (docs/decisions/0001).
CREATE TABLE message (
    id                 uuid PRIMARY KEY,
    account_id         uuid NOT NULL,                  -- no foreign key: mail outlives its account
    credential_id      uuid,
    session            text NOT NULL,
    mail_from          text NOT NULL,
    header_message_id  text,
    size               bigint NOT NULL,
    sha256             bytea NOT NULL CHECK (octet_length(sha256) = 32),
    smtputf8           boolean NOT NULL,
    eight_bit          boolean NOT NULL,
    ret                text,
    envid              text,
    duplicate_of       uuid,
    body_bucket        text,                           -- null while the body rides on the queue
    body_key           text,
    accepted_at        timestamptz NOT NULL,           -- the relay was about to say 250
    queued_at          timestamptz NOT NULL,           -- SQS had it
    claimed_at         timestamptz NOT NULL DEFAULT now(),
    expires_at         timestamptz NOT NULL,
    CHECK ((body_bucket IS NULL) = (body_key IS NULL))
);
CREATE INDEX message_account_time ON message (account_id, accepted_at DESC);
CREATE INDEX message_header_id ON message (account_id, header_message_id) WHERE header_message_id IS NOT NULL;

-- What was submitted in the last 24 hours, so that a client that lost our 250 sends no second mail.
CREATE TABLE submission (
    account_id  uuid NOT NULL,
    key         bytea NOT NULL CHECK (octet_length(key) = 32),
    message_id  uuid NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX submission_expiry ON submission (expires_at);

-- The unit of sending: recipients of one message that go to one provider together.
CREATE TABLE delivery (
    id               uuid PRIMARY KEY,
    message_id       uuid NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    account_id       uuid NOT NULL,
    provider_id      uuid,
    state            text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'deferred', 'unknown', 'held', 'done')),
    attempts         integer NOT NULL DEFAULT 0,       -- all of them; numbers the attempt log
    tries            integer NOT NULL DEFAULT 0,       -- those that count against the retry schedule
    lease_owner      text,
    lease_until      timestamptz,
    lease_token      bigint NOT NULL DEFAULT 0,        -- fencing: a result carries the token of its claim
    next_attempt_at  timestamptz,                      -- a deferred or unknown one may not be claimed before
    -- When the dispatcher puts it on the queue (again). Null while its body rides on the queue, and at the end.
    dispatch_at      timestamptz,
    finished_at      timestamptz
);
CREATE INDEX delivery_message ON delivery (message_id);
CREATE INDEX delivery_dispatch ON delivery (dispatch_at) WHERE dispatch_at IS NOT NULL;

-- The unit of truth.
CREATE TABLE recipient (
    message_id   uuid NOT NULL REFERENCES message (id) ON DELETE CASCADE,
    n            integer NOT NULL,
    account_id   uuid NOT NULL,
    delivery_id  uuid NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    address      text NOT NULL,
    notify       text,
    orcpt        text,
    state        text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'deferred', 'unknown', 'accepted', 'failed', 'expired', 'held')),
    code         integer,
    enhanced     text,
    reply        text,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (message_id, n)
);
CREATE INDEX recipient_delivery ON recipient (delivery_id);
CREATE INDEX recipient_address ON recipient (account_id, lower(address));

-- The delivery log: one row for each time a provider was asked.
CREATE TABLE attempt (
    delivery_id  uuid NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    n            integer NOT NULL,
    account_id   uuid NOT NULL,
    provider_id  uuid,
    worker       text NOT NULL,
    started_at   timestamptz NOT NULL,
    finished_at  timestamptz,
    outcome      text,                                 -- null while it runs
    code         integer,
    enhanced     text,
    reply        text,
    PRIMARY KEY (delivery_id, n)
);
