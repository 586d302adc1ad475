DROP TABLE api_request;
DROP TABLE credential_use;
DROP TABLE credential_former;
ALTER TABLE credential DROP COLUMN ends_at;
