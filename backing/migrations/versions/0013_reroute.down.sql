ALTER TABLE recipient DROP COLUMN by_order;
