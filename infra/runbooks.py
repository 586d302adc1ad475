"""What to do when an alarm goes off. The page of alarms is made of it."""

from typing import Final

from infra.alarm_spec import Runbook

TASKS_MISSING: Final = Runbook(
    anchor="tasks-missing",
    why="More than half of the tasks that a service wants do not run.",
    steps=(
        "See why its last tasks stopped: `aws ecs describe-services`, then `aws ecs describe-tasks` with those tasks.",
        "Exit code 78 is a wrong setting; the last line of the log names it.",
        "`CannotPullContainerError` is the image or the way to ECR. `OutOfMemoryError`: give the task more memory.",
        "If it began with a release, take it back.",
    ),
)
NEAR_MAXIMUM: Final = Runbook(
    anchor="tasks-near-maximum",
    why="A service wants more than four fifths of the tasks that it may have.",
    steps=(
        "See on the dashboard what drives it: sessions, backlog, requests or CPU.",
        "If the load is wanted, raise the service's `MaxTasks`; the stack checks that database and account allow it.",
    ),
)
AT_MAXIMUM: Final = Runbook(
    anchor="tasks-at-maximum",
    why="A service has all the tasks it may have and cannot grow with its load.",
    steps=(
        "Nothing is lost: when the delivery queue grows too long or too old, relays turn work away with a 4xx reply.",
        "Raise `MaxTasks`, or find who sends so much: `relay_connections_total` and the log name accounts.",
    ),
)
MEMORY: Final = Runbook(
    anchor="memory",
    why="A task has used nine tenths of its memory; ECS ends it when it needs more than all.",
    steps=(
        "Relay: many large messages at once; lower `RELAY_MAX_BYTES_IN_FLIGHT` or give the task more memory.",
        "If it grows day by day under the same load, replace the tasks and report it.",
    ),
)
SILENT: Final = Runbook(
    anchor="silent",
    why="No task of a service has told any of its metrics, so the alarms on them are blind.",
    steps=(
        "See whether tasks run (`tasks-missing`).",
        "If they do: `METRICS_EMF_SECONDS` has to be above 0 and the log group of the class STANDARD.",
    ),
)
POOL_BUSY: Final = Runbook(
    anchor="pool-busy",
    why="A task uses more than four fifths of its connections to PostgreSQL.",
    steps=(
        "Look at the database: slow statements keep connections busy (`database_transaction_seconds`).",
        "Otherwise raise the service's `Connections`; the stack checks that all pools fit into the database.",
    ),
)
POOL_EXHAUSTED: Final = Runbook(
    anchor="pool-exhausted",
    why="A task waited for a connection to PostgreSQL in vain, or PostgreSQL did not answer.",
    steps=(
        "See whether the database answers at all: its alarms, its events, a failover.",
        "Known accounts keep sending meanwhile; new ones and deliveries wait, API and console answer 503.",
    ),
)
CACHE_AWAY: Final = Runbook(
    anchor="cache-away",
    why="A task gets no answer from the cache. Limits then hold for each task alone; nothing is lost.",
    steps=(
        "Look at the cache's events: a failover takes a minute.",
        "If it lasts: security groups, and the IAM permission `elasticache:Connect` of the service's role.",
    ),
)
RELAY_ERRORS: Final = Runbook(
    anchor="relay-errors",
    why="More than 5 % of messages are deferred: clients keep them and try again, for hours at most.",
    steps=(
        "The relay's log names the reason. SQS or S3 away: look at AWS Health, permissions, and the VPC's way to them.",
        "If it began with a release, it is taken back by itself while that is under way, and by you afterwards.",
    ),
)
RELAY_SLOW: Final = Runbook(
    anchor="relay-slow",
    why="One message in twenty waits longer than half a second for its reply; the goal is a tenth.",
    steps=(
        "High CPU: let it scale, or raise `MaxTasks`.",
        "Otherwise SQS or S3 are slow to confirm: look at the AWS Health Dashboard.",
    ),
)
BACKPRESSURE: Final = Runbook(
    anchor="relay-backpressure",
    why="Relays turn mail away because deliveries do not keep up, or because too much of it is in memory.",
    steps=(
        "Find what holds deliveries up: a provider that is away, workers at their maximum, the database.",
        "Clients try again by themselves; relays accept again below the lower marks.",
    ),
)
RELAY_FULL: Final = Runbook(
    anchor="relay-full",
    why="A relay has as many sessions as it takes and turns others away.",
    steps=("More tasks should be starting; if they are at their maximum, raise `relayMaxTasks`.",),
)
SIGN_IN: Final = Runbook(
    anchor="sign-in-away",
    why="Accounts that a relay does not know yet cannot sign in: neither database nor cache can say who they are.",
    steps=("Look at the alarms of the database. Clients get `454` and try again.",),
)
CERTIFICATE: Final = Runbook(
    anchor="certificate-expiring",
    why="The certificate of the SMTP endpoint expires in less than seven days; it should have been replaced by now.",
    steps=(
        "The log of the renewer's task says why it was not: the authority away, its limits, a DNS record.",
        "Run the renewer by hand once that is mended; relays take a new certificate up within minutes.",
    ),
)
CERTIFICATE_REFUSED: Final = Runbook(
    anchor="certificate-refused",
    why="A relay was given a certificate that it will not serve: broken, expired, not of its key. The old one stays.",
    steps=("The line `certificate kept out` in the relay's log says what is wrong with it. Store a good one.",),
)
WORKER_ERRORS: Final = Runbook(
    anchor="worker-errors",
    why="More than 5 % of attempts fail for trouble with a provider or end in doubt.",
    steps=(
        "See on the dashboard which provider it is; its status page says more.",
        "Mail waits or takes another provider, as its routes say. Add a provider to routes that have one only.",
    ),
)
MISCONFIGURED: Final = Runbook(
    anchor="provider-misconfigured",
    why="A provider refuses us, not the mail: a key, a domain or an account in order no more.",
    steps=(
        "The worker's log names the provider and its answer. Mend it there, or with `provider set`.",
        "If an address is not on the public internet: name a network of your own in `providerNetworks` of the stack.",
        "Mail waits meanwhile and does not bounce.",
    ),
)
UNKNOWN: Final = Runbook(
    anchor="outcomes-unknown",
    why="Attempts ended in doubt: the provider may have taken the mail. They wait for its events.",
    steps=("See the provider's own log. What no event settles is an operator's to decide: docs/providers.md.",),
)
PROVIDER_AWAY: Final = Runbook(
    anchor="provider-away",
    why="A provider has failed so often that it is left alone for a while.",
    steps=(
        "`worker_provider_breaker` names it. It is tried again by itself.",
        "Its mail takes another provider where routes have one, and waits otherwise.",
    ),
)
EVENTS_MALFORMED: Final = Runbook(
    anchor="events-malformed",
    why="A provider tells of its mail in a way that nobody here understands, so bounces may go unnoticed.",
    steps=("The line `event refused` in the worker's log says what is wrong. The message waits as a dead letter.",),
)
WEB_ERRORS: Final = Runbook(
    anchor="web-errors",
    why="More than 5 % of requests fail on our side.",
    steps=(
        "The service's log has a line for each. If the database is away, its alarms say so.",
        "If it began with a release, it is taken back by itself while that is under way, and by you afterwards.",
    ),
)
API_SLOW: Final = Runbook(
    anchor="api-slow",
    why="One request in twenty takes longer than 300 ms.",
    steps=("High CPU: let it scale, or raise `apiMaxTasks`. Otherwise look for slow statements in the database.",),
)
UNHEALTHY: Final = Runbook(
    anchor="targets-unhealthy",
    why="A task does not answer the balancer's health check and gets no traffic.",
    steps=(
        "ECS replaces it. If new ones fail as well, their log says why; health does not depend on database or cache.",
    ),
)

DEPTH: Final = Runbook(
    anchor="delivery-depth",
    why="So much mail waits that relays turn new mail away.",
    steps=(
        "Find what holds deliveries up: a provider that is away, workers at their maximum, the database.",
        "Mail that waits is safe for the queue's retention, 14 days by default.",
    ),
)
AGE: Final = Runbook(
    anchor="queue-age",
    why="A message has waited longer than five minutes for a worker.",
    steps=(
        "Many messages: workers should be starting; if they are at their maximum, raise `workerMaxTasks`.",
        "Few messages: the same ones come back. The worker's log says why they are not finished.",
    ),
)
DEAD_LETTERS: Final = Runbook(
    anchor="dead-letters",
    why="A message was received too often without being finished, and was moved aside.",
    steps=(
        "Read it where it is, and the worker's log of that time: docs/delivery.md, Dead letters.",
        "Once the cause is mended, move it back: `aws sqs start-message-move-task`.",
    ),
)
DATABASE_CPU: Final = Runbook(
    anchor="database-cpu",
    why="PostgreSQL has used four fifths of its CPU for a quarter of an hour.",
    steps=("Look for the statements that need it in the insights of RDS; else choose a larger `databaseClass`.",),
)
DATABASE_CONNECTIONS: Final = Runbook(
    anchor="database-connections",
    why="More than four fifths of the connections that PostgreSQL allows are in use.",
    steps=("While a release is under way both colours hold theirs. Otherwise lower a service's `Connections`.",),
)
DATABASE_LOAD: Final = Runbook(
    anchor="database-load",
    why="Twice as many sessions are at work as PostgreSQL has CPUs: they wait for each other.",
    steps=("The insights of RDS show what they wait for: locks, storage, CPU.",),
)
DATABASE_STORAGE: Final = Runbook(
    anchor="database-storage",
    why="Less than a tenth of the database's storage is free.",
    steps=(
        "It grows by itself up to `databaseMaxStorageGb`, at most once in six hours; raise that if it is reached.",
        "Shorten how long messages stay on record: docs/delivery.md.",
    ),
)
DATABASE_MEMORY: Final = Runbook(
    anchor="database-memory",
    why="PostgreSQL's instance has hardly any memory left.",
    steps=("Fewer connections, or a larger `databaseClass`.",),
)
DATABASE_CREDITS: Final = Runbook(
    anchor="database-credits",
    why="The instance has used up the CPU credits it saves while idle; from now on more of them cost money.",
    steps=("If it stays so, a class of fixed performance is cheaper: `db.m7g.large`.",),
)
CACHE_THROTTLED: Final = Runbook(
    anchor="cache-throttled",
    why="The serverless cache was asked more than it grows to in time.",
    steps=("It grows within minutes. If it comes again, choose a cluster: `cacheMode`.",),
)
CACHE_FULL: Final = Runbook(
    anchor="cache-full",
    why="A node of the cache uses more than four fifths of its CPU or memory.",
    steps=("Choose a larger `cacheNodeType`. What is evicted is counted anew; nothing is lost.",),
)
PORTS: Final = Runbook(
    anchor="ports-exhausted",
    why="A balancer or NAT gateway had no port left for a new connection.",
    steps=(
        "NAT: many connections to one provider; let tasks spread over zones (`egress: nat-per-zone`).",
        "Balancer: more relay tasks, since ports are counted per target.",
    ),
)
BALANCER_ERRORS: Final = Runbook(
    anchor="balancer-errors",
    why="The balancer of API and console answers requests with errors of its own: nobody is there to answer them.",
    steps=("See whether tasks run and are healthy (`tasks-missing`, `targets-unhealthy`).",),
)
BOUNCES: Final = Runbook(
    anchor="ses-bounces",
    why="More than 5 % of mail bounces. From there on AWS reviews the account, and from 10 % it may stop it.",
    steps=(
        "Find the account it comes from: recipients by account and outcome in the console.",
        "Suspend it, or route it to another provider, until its list is clean.",
    ),
)
COMPLAINTS: Final = Runbook(
    anchor="ses-complaints",
    why="More than one recipient in a thousand complains. From there on AWS reviews the account.",
    steps=("Find the account it comes from, and suspend it until it is known why.",),
)
DEPLOYMENT_FAILED: Final = Runbook(
    anchor="deployment-failed",
    why="A release failed its checks or set off an alarm, and was taken back.",
    steps=(
        "The old revision serves. The service's events name the check or the alarm.",
        "Mend it and release again; an alarm that was on before a release does not count against it.",
    ),
)
RENEWER_SILENT: Final = Runbook(
    anchor="renewer-silent",
    why="No run of the certificate's renewer has come to its end for a day.",
    steps=(
        "See whether its schedule is on, and why its last tasks stopped: `aws ecs describe-tasks`.",
        "`METRICS_EMF` has to be true for it.",
    ),
)
RENEWALS_FAIL: Final = Runbook(
    anchor="renewals-fail",
    why="Three attempts in a row to renew the certificate of the SMTP endpoint have failed.",
    steps=(
        "The log of the renewer's task says why: the authority away, a DNS record, a permission.",
        "It tries again by itself; see `certificate-expiring` for how long there is.",
    ),
)
RENEWAL_LIMITED: Final = Runbook(
    anchor="renewal-rate-limited",
    why="The authority puts us off: too many certificates were asked of it.",
    steps=(
        "Nothing to hurry: no attempt is made before the time it named, and the certificate in use stays.",
        "Find out who else asks for certificates of the same names.",
    ),
)
BACKUP_FAILED: Final = Runbook(
    anchor="certificate-backup-failed",
    why="A new certificate is in use, and no copy of it could be stored.",
    steps=("See the renewer's log: the bucket, or the permission to write into it. The next run tries again.",),
)
BOOTSTRAP: Final = Runbook(
    anchor="certificate-bootstrap",
    why="A relay serves a certificate that it signed itself, for want of an issued one; clients that verify refuse it.",
    steps=("Run the renewer, and see what its log says.",),
)
RENEWAL_FAILED: Final = Runbook(
    anchor="renewal-failed",
    why="The task that renews the SMTP endpoint's certificate failed or did not start.",
    steps=(
        "Its log says why: the authority away or at its limits, a DNS record, a permission.",
        "It runs again by itself; the certificate in use stays. See `certificate-expiring` for how long there is.",
    ),
)
