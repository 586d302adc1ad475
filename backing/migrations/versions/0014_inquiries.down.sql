DROP TABLE inquiry;
ALTER TABLE webhook_endpoint DROP COLUMN secret_sealed_at, DROP COLUMN secret_key;
ALTER TABLE provider DROP COLUMN secret_sealed_at, DROP COLUMN secret_key;
