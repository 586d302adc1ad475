-- A message is asked for by its id before a worker has written it down; one without an Idempotency-Key has its id as key.
ALTER TABLE api_submission
    DROP CONSTRAINT api_submission_key_check,
    ADD CONSTRAINT api_submission_key_check CHECK (octet_length(key) IN (16, 32));
CREATE INDEX api_submission_message ON api_submission (message_id);
