"""`make bench`: what accepting a message costs, beside stock aiosmtpd and others; memory, latency, all with SQS."""

from bench import relay_messages, relay_peers, relay_rate, relay_sessions, relay_setup, relay_sqs, sqs_send

for bench in (relay_setup, relay_rate, relay_messages, relay_peers, relay_sessions, relay_sqs, sqs_send):
    bench.main()
