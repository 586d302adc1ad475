-- counted --
-- Recipients of the messages that were accepted since, by how they stand.
SELECT recipient.state, count(*)
FROM message JOIN recipient ON recipient.message_id = message.id AND recipient.account_id = message.account_id
WHERE message.account_id = %(account_id)s AND message.accepted_at >= %(since)s
GROUP BY recipient.state;
