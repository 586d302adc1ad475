ALTER TABLE message DROP COLUMN require_tls;
