-- An operator has let it go: no rule holds it any more.
ALTER TABLE recipient ADD COLUMN released boolean NOT NULL DEFAULT false;
