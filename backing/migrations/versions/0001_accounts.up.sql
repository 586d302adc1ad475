CREATE TABLE provider (
    id          uuid PRIMARY KEY,
    account_id  uuid,                                  -- null: every account may use it
    name        text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    kind        text NOT NULL CHECK (kind IN ('smtp', 'ses', 'mailgun', 'sendgrid', 'postmark', 'sandbox')),
    config      jsonb NOT NULL DEFAULT '{}',
    secret      bytea,                                 -- sealed, see backing/secrets.py
    enabled     boolean NOT NULL DEFAULT true,
    version     integer NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (account_id, name)
);

CREATE TABLE account (
    id                  uuid PRIMARY KEY,
    name                text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    allowed_domains     text[] NOT NULL,
    default_provider_id uuid REFERENCES provider (id),
    on_unknown          text NOT NULL DEFAULT 'resend' CHECK (on_unknown IN ('resend', 'hold', 'drop')),
    disabled_at         timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE provider ADD FOREIGN KEY (account_id) REFERENCES account (id) ON DELETE CASCADE;

CREATE TABLE credential (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    username    text NOT NULL UNIQUE CHECK (username ~ '^[A-Za-z0-9][A-Za-z0-9@._-]{0,127}$'),
    digest      bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
CREATE INDEX credential_account ON credential (account_id);

CREATE TABLE routing_rule (
    id          uuid PRIMARY KEY,
    account_id  uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name        text NOT NULL,
    priority    integer NOT NULL,
    match       jsonb NOT NULL DEFAULT '{}',
    action      jsonb NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,
    version     integer NOT NULL DEFAULT 1,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, name)
);
CREATE INDEX routing_rule_order ON routing_rule (account_id, priority, id) WHERE enabled;
