-- The same in Python: mail.ids.uuid7 (RFC 9562, 5.7): milliseconds in front of a random UUID, and its version 4 made 7.
CREATE FUNCTION new_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(set_bit(set_bit(overlay(
    uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6
), 52, 1), 53, 1), 'hex')::uuid;

CREATE TABLE webhook_endpoint (
    id               uuid PRIMARY KEY,
    account_id       uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    url              text NOT NULL CHECK (url LIKE 'https://_%' AND length(url) <= 2000),
    secret           bytea NOT NULL,                   -- sealed, see backing/secrets.py
    previous_secret  bytea,                            -- signs as well until then, so that receivers can change over
    previous_until   timestamptz,
    types            text[],                           -- of the events that it wants; null: all of them
    enabled          boolean NOT NULL DEFAULT true,
    disabled_reason  text,
    failing_since    timestamptz,                      -- null while the latest posts were taken
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL))
);
CREATE INDEX webhook_endpoint_account ON webhook_endpoint (account_id);

-- Events of accounts that have an endpoint; the fields of `payload` are those of mail/account_events.py.
CREATE TABLE outbox (
    id          uuid PRIMARY KEY DEFAULT new_uuid7(),
    account_id  uuid NOT NULL,
    message_id  uuid,                                  -- null: of no message
    type        text NOT NULL,
    payload     jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_account_time ON outbox (account_id, created_at, id);
CREATE INDEX outbox_message ON outbox (message_id) WHERE message_id IS NOT NULL;

CREATE TABLE webhook_delivery (
    event_id         uuid NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    endpoint_id      uuid NOT NULL,                    -- no foreign key: who removes an endpoint holds up no mail
    account_id       uuid NOT NULL,
    state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts         integer NOT NULL DEFAULT 0,       -- fencing, too: a result carries the number of its attempt
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),    -- while one runs: when its lease is over
    last_status      integer,
    last_text        text,
    PRIMARY KEY (event_id, endpoint_id)
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (endpoint_id, next_attempt_at) WHERE state = 'pending';

-- Writes down what accounts with endpoints are told of recipients, in the transaction that changed these. A disabled
-- endpoint gets nothing, but its account's events are kept, so that they can be replayed to it. Planning takes longer
-- than the work, so it is done once in a session.
CREATE FUNCTION tell(recipients recipient[]) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    WITH event AS (
        INSERT INTO outbox (account_id, message_id, type, payload)
        SELECT told.account_id, told.message_id, 'recipient.' || told.state, jsonb_build_object(
                   'message_id', told.message_id,
                   'session', message.session,
                   'header_message_id', message.header_message_id,
                   'stream', message.stream,
                   'tags', message.tags,
                   'recipient', told.address,
                   'n', told.n,
                   'state', told.state,
                   'provider', provider.name,
                   'code', told.code,
                   'enhanced', told.enhanced,
                   'text', told.reply)
        FROM unnest(recipients) AS told
             JOIN message ON message.id = told.message_id AND message.account_id = told.account_id
             LEFT JOIN provider ON provider.id = told.provider_id
                       AND (provider.account_id IS NULL OR provider.account_id = told.account_id)
        RETURNING id, account_id, type
    )
    INSERT INTO webhook_delivery (event_id, endpoint_id, account_id)
    SELECT event.id, endpoint.id, event.account_id
    FROM event JOIN webhook_endpoint AS endpoint ON endpoint.account_id = event.account_id
    WHERE endpoint.enabled AND (endpoint.types IS NULL OR event.type = ANY (endpoint.types));
END $$;

-- One call for a statement, however many recipients it changes.
CREATE FUNCTION tell_of_changed_recipients() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told recipient[];
BEGIN
    SELECT array_agg(after) INTO told
    FROM after JOIN before USING (message_id, n)
    WHERE after.state <> before.state AND after.state NOT IN ('queued', 'sending')
          AND EXISTS (SELECT FROM webhook_endpoint WHERE webhook_endpoint.account_id = after.account_id);
    IF told IS NOT NULL THEN
        PERFORM tell(told);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER recipient_changed AFTER UPDATE ON recipient
REFERENCING OLD TABLE AS before NEW TABLE AS after
FOR EACH STATEMENT EXECUTE FUNCTION tell_of_changed_recipients();

-- Nearly all new ones are queued; those cost the look at the condition.
CREATE FUNCTION tell_of_new_recipient() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM webhook_endpoint WHERE webhook_endpoint.account_id = NEW.account_id) THEN
        PERFORM tell(ARRAY[NEW]);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER recipient_settled_at_once AFTER INSERT ON recipient
FOR EACH ROW WHEN (NEW.state NOT IN ('queued', 'sending')) EXECUTE FUNCTION tell_of_new_recipient();
