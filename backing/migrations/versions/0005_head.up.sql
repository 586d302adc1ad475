-- Octets of our Received header, which sha256 leaves out; it covers all of the messages that were there before.
ALTER TABLE message ADD COLUMN head integer NOT NULL DEFAULT 0;
