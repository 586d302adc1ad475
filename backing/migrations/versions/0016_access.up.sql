-- Null: it has no end. Not called as the same of a message: statements of the release before name that without its table.
ALTER TABLE credential ADD COLUMN ends_at timestamptz;

-- What a credential signed in with before; good beside its secret until then.
CREATE TABLE credential_former (
    credential_id  uuid NOT NULL REFERENCES credential (id) ON DELETE CASCADE,
    account_id     uuid NOT NULL,
    digest         bytea CHECK (octet_length(digest) = 32),
    password_hash  text CHECK (password_hash LIKE '$argon2id$%'),
    until          timestamptz NOT NULL,
    CHECK (num_nonnulls(digest, password_hash) = 1)
);
CREATE INDEX credential_former_credential ON credential_former (credential_id);

-- When a credential signed in last. A table of its own: relays write here, and nothing of what they check.
CREATE TABLE credential_use (
    credential_id  uuid PRIMARY KEY REFERENCES credential (id) ON DELETE CASCADE,
    account_id     uuid NOT NULL,
    last_used_at   timestamptz NOT NULL
) WITH (fillfactor = 70);

-- What was made with an Idempotency-Key: repeated, it is the same answer. A secret of an answer is never kept.
CREATE TABLE api_request (
    account_id   uuid REFERENCES account (id) ON DELETE CASCADE,        -- whose key called; null: an operator's
    operation    text NOT NULL,
    key          bytea NOT NULL CHECK (octet_length(key) = 32),         -- SHA-256 of the Idempotency-Key
    fingerprint  bytea NOT NULL CHECK (octet_length(fingerprint) = 32), -- of what was asked for
    status       integer NOT NULL,
    answer       text,                                                  -- null: it had a secret
    made         text NOT NULL,                                         -- what was made, in words
    place        text,                                                  -- where it is, if the answer said it
    expires_at   timestamptz NOT NULL,
    UNIQUE NULLS NOT DISTINCT (account_id, operation, key)
);
CREATE INDEX api_request_expiry ON api_request (expires_at);
