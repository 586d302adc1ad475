DELETE FROM api_submission WHERE octet_length(key) = 16;
ALTER TABLE api_submission
    DROP CONSTRAINT api_submission_key_check,
    ADD CONSTRAINT api_submission_key_check CHECK (octet_length(key) = 32);
DROP INDEX api_submission_message;
