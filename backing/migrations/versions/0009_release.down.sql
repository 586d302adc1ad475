ALTER TABLE recipient DROP COLUMN released;
