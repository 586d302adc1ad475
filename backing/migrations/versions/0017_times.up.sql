-- Times that no program can read were taken once, and one of them spoiled a whole list. Not validated, so that nothing
-- waits while a long suppression list is read; the updates below mend what there is.
ALTER TABLE api_key ADD CONSTRAINT api_key_expires_at_check
    CHECK (expires_at BETWEEN '1970-01-01 00:00+00' AND '9000-01-01 00:00+00') NOT VALID;
ALTER TABLE suppression ADD CONSTRAINT suppression_expires_at_check
    CHECK (expires_at BETWEEN '1970-01-01 00:00+00' AND '9000-01-01 00:00+00') NOT VALID;
UPDATE api_key SET expires_at = least(greatest(expires_at, '1970-01-01 00:00+00'), '9000-01-01 00:00+00')
WHERE expires_at NOT BETWEEN '1970-01-01 00:00+00' AND '9000-01-01 00:00+00';
UPDATE suppression SET expires_at = least(greatest(expires_at, '1970-01-01 00:00+00'), '9000-01-01 00:00+00')
WHERE expires_at NOT BETWEEN '1970-01-01 00:00+00' AND '9000-01-01 00:00+00';
