ALTER TABLE suppression DROP CONSTRAINT suppression_expires_at_check;
ALTER TABLE api_key DROP CONSTRAINT api_key_expires_at_check;
