-- as_one --
-- Numbers are those of one moment, however many statements read them.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- chosen --
SELECT id, accepted_at FROM message
WHERE account_id = %(account_id)s AND accepted_at >= %(since)s AND accepted_at < %(until)s
ORDER BY accepted_at DESC LIMIT %(most)s;

-- counts --
-- In one reading: all recipients, those of each provider, and those of each of the busiest domains; null are the others.
WITH counted AS MATERIALIZED (
    SELECT state, provider_id, lower(substring(address FROM '[^@]*$')) AS domain FROM recipient
    WHERE message_id = ANY (%(ids)s) AND account_id = %(account_id)s
    LIMIT %(most)s
), busiest AS MATERIALIZED (
    SELECT domain FROM counted GROUP BY domain ORDER BY count(*) DESC, domain LIMIT %(domains)s
), named AS (
    SELECT counted.state, counted.provider_id, busiest.domain FROM counted LEFT JOIN busiest USING (domain)
), grouped AS (
    SELECT CASE WHEN GROUPING(provider_id) = 0 THEN 'provider' WHEN GROUPING(domain) = 0 THEN 'domain' ELSE 'all' END
               AS by, provider_id, domain, state, count(*) AS count
    FROM named GROUP BY GROUPING SETS ((state), (state, provider_id), (state, domain))
)
SELECT grouped.by, coalesce(provider.name, grouped.domain), grouped.state, grouped.count
FROM grouped
     LEFT JOIN provider ON provider.id = grouped.provider_id
          AND (provider.account_id IS NULL OR provider.account_id = %(account_id)s);

-- latencies --
-- From the acceptance of a message to the end of an attempt with which a provider took it. The bound keeps each message
-- to an index: joined as a whole, all attempts there are would be read.
SELECT GROUPING(attempt.provider_id) = 1, provider.name, count(*),
       percentile_cont(ARRAY[0.5, 0.95, 0.99]::float8[]) WITHIN GROUP (
           ORDER BY extract(epoch FROM attempt.finished_at - message.accepted_at)::float8)
FROM message
     CROSS JOIN LATERAL (
         SELECT attempt.provider_id, attempt.finished_at
         FROM delivery JOIN attempt ON attempt.delivery_id = delivery.id AND attempt.account_id = delivery.account_id
         WHERE delivery.message_id = message.id AND delivery.account_id = message.account_id
               AND outcome = 'accepted' AND attempt.finished_at IS NOT NULL
         LIMIT 100
     ) AS attempt
     LEFT JOIN provider ON provider.id = attempt.provider_id
          AND (provider.account_id IS NULL OR provider.account_id = message.account_id)
WHERE message.id = ANY (%(ids)s) AND message.account_id = %(account_id)s
GROUP BY GROUPING SETS ((), (attempt.provider_id, provider.name));
