DROP TRIGGER recipient_changed ON recipient;
DROP TRIGGER recipient_settled_at_once ON recipient;
DROP FUNCTION tell_of_changed_recipients();
DROP FUNCTION tell_of_new_recipient();
DROP FUNCTION tell(recipient[]);
DROP TABLE webhook_delivery;
DROP TABLE outbox;
DROP TABLE webhook_endpoint;
DROP FUNCTION new_uuid7();
