"""`make bench`: what mail and requests cost, beside others; memory, latency, all with SQS."""

from bench import (
    end_to_end,
    relay_messages,
    relay_peers,
    relay_rate,
    relay_sessions,
    relay_setup,
    relay_sqs,
    sqs_send,
    web_status,
    worker_backlog,
    worker_messages,
    worker_rate,
    worker_smtp,
)

RELAY = (relay_setup, relay_rate, relay_messages, relay_peers, relay_sessions, relay_sqs, sqs_send)
WORKER = (worker_smtp, worker_messages, worker_rate, worker_backlog)

for bench in (*RELAY, *WORKER, web_status, end_to_end):
    bench.main()
