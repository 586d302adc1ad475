DROP INDEX suppression_hash, suppression_changed;
DELETE FROM suppression WHERE stream <> '';
ALTER TABLE suppression
    DROP CONSTRAINT suppression_pkey,
    DROP stream,
    ADD PRIMARY KEY (account_id, address);
CREATE INDEX suppression_hash ON suppression (account_id, address_hash);
CREATE INDEX suppression_changed ON suppression (account_id, changed);
DROP TABLE provider_event;
