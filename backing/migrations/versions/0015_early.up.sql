-- Orders for messages that no worker has written down yet: of these nothing is known but the id that the client got.
CREATE TABLE early_order (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,    -- those of a message are carried out in this order
    message_id  uuid NOT NULL,
    account_id  uuid,                                  -- whose message it has to be; null: an operator's, for anyone's
    what        text NOT NULL CHECK (what IN ('hold', 'cancel', 'release', 'reroute')),
    n           integer CHECK (n >= 0),                -- of which recipient; null: of all
    provider    text,                                  -- that it is to go through; null: by the rules
    actor       text NOT NULL,                         -- as in the audit log, which names the account once it is known
    request     text NOT NULL,
    peer        text NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX early_order_message ON early_order (message_id);
CREATE INDEX early_order_account ON early_order (account_id);
CREATE INDEX early_order_expiry ON early_order (expires_at);

-- What was ordered of it last; null: nothing.
ALTER TABLE recipient ADD COLUMN ordered text;
