CREATE TABLE api_key (
    id               uuid PRIMARY KEY,
    account_id       uuid REFERENCES account (id) ON DELETE CASCADE,    -- null: an operator's
    name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    prefix           text COLLATE "C" NOT NULL UNIQUE CHECK (prefix ~ '^[a-z2-7]{12}$'),    -- by which it is found
    digest           bytea NOT NULL CHECK (octet_length(digest) = 32),  -- SHA-256 of its secret
    scopes           text[] NOT NULL CHECK (cardinality(scopes) > 0),
    rate_per_minute  integer CHECK (rate_per_minute > 0),               -- null: the API's own
    created_at       timestamptz NOT NULL DEFAULT now(),
    expires_at       timestamptz,
    revoked_at       timestamptz,
    last_used_at     timestamptz
);
CREATE INDEX api_key_account ON api_key (account_id);

-- What was submitted with an Idempotency-Key: repeated, it names the same message.
CREATE TABLE api_submission (
    account_id    uuid NOT NULL,
    key           bytea NOT NULL CHECK (octet_length(key) = 32),
    fingerprint   bytea NOT NULL CHECK (octet_length(fingerprint) = 32),    -- of what was submitted
    message_id    uuid NOT NULL,
    confirmed     boolean NOT NULL DEFAULT false,      -- the queue has it
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (account_id, key)
);
CREATE INDEX api_submission_expiry ON api_submission (expires_at);

-- Who changed what. Nothing of it goes with the account: who deleted that is asked afterwards.
CREATE TABLE audit_log (
    id          uuid PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    account_id  uuid,                                  -- whose things were changed; null: of all accounts
    actor       text NOT NULL,                         -- prefix and name of a key
    action      text NOT NULL,                         -- as in message.cancel
    subject     text NOT NULL,
    request     text NOT NULL,                         -- correlation id
    peer        text NOT NULL
);
CREATE INDEX audit_log_account ON audit_log (account_id, id);
