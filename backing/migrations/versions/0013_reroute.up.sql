-- The provider that an operator has chosen for it: where its rules send it, it goes through this one.
ALTER TABLE recipient ADD COLUMN by_order uuid;
