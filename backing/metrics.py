"""The metrics registry of a process. A metric is declared here once: its name, meaning and labels document it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# Seconds; the accept path answers in milliseconds, a delivery in seconds.
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class RelayMetrics:
    """What the relay counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sessions = Gauge("relay_sessions", "SMTP sessions open now.", registry=registry)
        self.connections = Counter(
            "relay_connections", "Connections by how they were met.", ["result"], registry=registry
        )
        self.auth = Counter("relay_auth_attempts", "AUTH attempts by result.", ["result"], registry=registry)
        self.messages = Counter("relay_messages", "Messages by the reply to DATA.", ["result"], registry=registry)
        self.bytes = Counter("relay_message_bytes", "Octets of accepted messages.", registry=registry)
        self.accept_seconds = Histogram(
            "relay_accept_seconds", "End of DATA to the final reply.", buckets=_LATENCY, registry=registry
        )


class WorkerMetrics:
    """What the worker counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.sending = Gauge("worker_sending", "Messages being sent now.", registry=registry)
        self.received = Counter("worker_received", "Queue messages by what they were.", ["result"], registry=registry)
        self.outcomes = Counter(
            "worker_outcomes", "Recipients by the outcome of an attempt.", ["outcome"], registry=registry
        )
        self.send_seconds = Histogram(
            "worker_send_seconds", "Duration of an attempt at a provider.", buckets=_LATENCY, registry=registry
        )
        self.accept_to_delivered_seconds = Histogram(
            "worker_accept_to_delivered_seconds",
            "The relay's 250 to the provider's.",
            buckets=(*_LATENCY, 300, 900, 3600, 14400, 86400),
            registry=registry,
        )
