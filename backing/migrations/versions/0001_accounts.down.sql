DROP TABLE routing_rule;
DROP TABLE credential;
ALTER TABLE provider DROP CONSTRAINT provider_account_id_fkey;
DROP TABLE account;
DROP TABLE provider;
