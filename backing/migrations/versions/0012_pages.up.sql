-- A suppression list is read in pages, the newest first; without this each of them sorts the whole list.
CREATE INDEX suppression_time ON suppression (account_id, created_at, address, stream);
