DROP TABLE report;
DROP INDEX attempt_provider_message;
ALTER TABLE attempt DROP ns, DROP rule_id, DROP provider_message_id, DROP retry_after;
UPDATE recipient SET state = CASE state WHEN 'delivered' THEN 'accepted' ELSE 'failed' END
WHERE state IN ('delivered', 'bounced', 'complained', 'suppressed', 'discarded', 'cancelled');
ALTER TABLE recipient
    DROP CONSTRAINT recipient_state_check,
    ADD CONSTRAINT recipient_state_check
        CHECK (state IN ('queued', 'sending', 'deferred', 'unknown', 'accepted', 'failed', 'expired', 'held')),
    DROP provider_id, DROP provider_message_id, DROP rule_id, DROP redirected_to, DROP tries, DROP next_attempt_at,
    DROP event_at, DROP dsn;
ALTER TABLE message DROP stream, DROP tags;
ALTER TABLE provider DROP limits, DROP allowed_domains;
ALTER TABLE account
    DROP retry_seconds, DROP expiry_seconds, DROP send_dsn, DROP delay_notice_seconds, DROP retention_days, DROP archive;
