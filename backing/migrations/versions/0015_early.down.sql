ALTER TABLE recipient DROP COLUMN ordered;
DROP TABLE early_order;
