ALTER TABLE account
    ADD check_from        boolean NOT NULL DEFAULT false,
    ADD repair_line_ends  boolean NOT NULL DEFAULT false,
    ADD max_sessions      integer CHECK (max_sessions > 0),    -- null: the relay's own limit
    -- {"day": {"messages": 10000, "recipients": 50000}}: windows of hour, day and month
    ADD quotas            jsonb NOT NULL DEFAULT '{}' CHECK (
        jsonb_typeof(quotas) = 'object'
        AND quotas - '{hour,day,month}'::text[] = '{}'
        AND NOT jsonb_path_exists(quotas, 'strict $.* ? (@.type() != "object")')
        AND NOT jsonb_path_exists(quotas, '$.*.keyvalue() ? (@.key != "messages" && @.key != "recipients")')
        AND NOT jsonb_path_exists(quotas, '$.*.* ? (@.type() != "number" || @ < 1 || @.floor() != @)')
    );

ALTER TABLE credential
    ALTER digest DROP NOT NULL,                                -- set for a generated secret
    ADD password_hash     text CHECK (password_hash LIKE '$argon2id$%'),    -- set for a chosen one
    ADD networks          cidr[] NOT NULL DEFAULT '{}',        -- none: usable from anywhere
    ADD certificate_name  text CHECK (certificate_name = lower(certificate_name) AND certificate_name <> ''),
    ADD CONSTRAINT credential_secret_check
        CHECK (num_nonnulls(digest, password_hash) = 1
            OR num_nonnulls(digest, password_hash) = 0 AND certificate_name IS NOT NULL);
-- A name can move to a new credential once the old one is revoked.
CREATE UNIQUE INDEX credential_certificate ON credential (certificate_name) WHERE revoked_at IS NULL;

-- The same in Python: mail.accounts.address_hash. The server's encoding cannot change, so this is immutable.
CREATE FUNCTION address_hash(address text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || encode(substr(sha256(convert_to(address, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint;

CREATE TABLE suppression (
    account_id    uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- Letters outside ASCII keep their case: only there do all agree what lower case is.
    address       text COLLATE "C" NOT NULL CHECK (address = lower(address) AND address LIKE '%_@_%'),
    address_hash  bigint NOT NULL GENERATED ALWAYS AS (address_hash(address)) STORED,
    reason        text NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'manual')),
    source        text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,                                 -- null: never
    -- The transaction that wrote it last: who remembers a snapshot finds what came after it.
    changed       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (account_id, address)
);
CREATE INDEX suppression_hash ON suppression (account_id, address_hash);
CREATE INDEX suppression_changed ON suppression (account_id, changed);
