-- REQUIRETLS of the envelope (RFC 8689).
ALTER TABLE message ADD COLUMN require_tls boolean NOT NULL DEFAULT false;
