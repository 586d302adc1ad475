"""The metrics registry of a process. A metric is declared here once: its name, meaning and labels document it."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override

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
        self.messages = MessageCounts(registry)
        self.bytes_in_flight = Gauge(
            "relay_bytes_in_flight", "Octets of messages in memory now, on their way to the queue.", registry=registry
        )
        self.cache_up = Gauge("relay_cache_up", "1 while the shared cache answers.", registry=registry)
        self.quota_refusals = Counter(
            "relay_quota_refusals", "Refusals for an account's quota.", ["window", "unit"], registry=registry
        )
        self.shed = Counter("relay_shed", "Work turned away for load, by reason.", ["reason"], registry=registry)
        self.queue_depth = Gauge(
            "relay_queue_depth", "Messages that wait in the delivery queue; NaN while not known.", registry=registry
        )
        self.queue_age = Gauge(
            "relay_queue_age_seconds", "Age of the oldest queued message; NaN while not known.", registry=registry
        )
        self.protected = Gauge(
            "relay_task_protected", "1 while ECS may not end this task to scale in.", registry=registry
        )
        self.certificate_expiry = Gauge(
            "relay_certificate_expiry_timestamp_seconds",
            "Unix time at which the first of the served certificates expires.",
            registry=registry,
        )
        self.certificate_days_left = Gauge(
            "relay_certificate_days_left", "Days until the first of the served certificates expires.", registry=registry
        )
        self.certificate_bootstrap = Gauge(
            "relay_certificate_bootstrap",
            "1 while a certificate is served that the relay signed itself, for want of an issued one.",
            registry=registry,
        )
        self.certificate_reloads = Counter(
            "relay_certificate_reloads",
            "Changes of certificates by result: accepted, refused, unchanged.",
            ["result"],
            registry=registry,
        )
        self.reloads = Counter("relay_reloads", "Reloads of the settings by result.", ["result"], registry=registry)


class MessageCounts(Collector):
    """What the relay counts for each message, in plain numbers; the library's counters take 4 µs of one.

    Args:
        registry: where it is shown.

    Attributes:
        octets: of accepted messages.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._results = {"accepted": 0, "deferred": 0, "refused": 0}
        self._durations = [0] * (len(_LATENCY) + 1)
        self._seconds = 0.0
        self.octets = 0
        registry.register(self)

    def count(self, result: str, seconds: float) -> None:
        """Count a message by the reply to it, and how long it waited for that."""
        self._results[result] += 1
        self._durations[bisect_left(_LATENCY, seconds)] += 1
        self._seconds += seconds

    @override
    def collect(self) -> Iterator[Metric]:
        results = CounterMetricFamily("relay_messages", "Messages by the reply to DATA.", labels=["result"])
        for result, count in self._results.items():
            results.add_metric([result], count)
        yield results
        yield CounterMetricFamily("relay_message_bytes", "Octets of accepted messages.", self.octets)
        bounds = map(floatToGoString, (*_LATENCY, math.inf))
        yield HistogramMetricFamily(
            "relay_accept_seconds",
            "End of DATA to the final reply.",
            list(zip(bounds, accumulate(self._durations), strict=True)),
            self._seconds,
        )


class CertificateMetrics:
    """What the renewer of certificates counts; each of its runs is a process of its own, so only EMF shows it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.heartbeats = Counter(
            "certificate_heartbeats", "Runs that came to their end, whatever that was.", registry=registry
        )
        self.runs = Counter(
            "certificate_runs",
            "Runs by result: renewed, kept (not due), waiting (for the server's limits), busy (another run), failed.",
            ["result"],
            registry=registry,
        )
        self.failures = Counter("certificate_renewal_failures", "Attempts to renew that failed.", registry=registry)
        self.failures_in_a_row = Gauge(
            "certificate_renewal_failures_in_a_row",
            "Failed attempts since the last good one, runs before this one included (TLS-006).",
            registry=registry,
        )
        self.rate_limits = Counter(
            "certificate_rate_limits", "Attempts that the ACME server put off (EC-5).", registry=registry
        )
        self.backup_failures = Counter(
            "certificate_backup_failures", "Certificates in use of which no copy could be stored.", registry=registry
        )
        self.seconds_left = Gauge(
            "certificate_left_seconds", "Time until the certificate that is kept expires.", registry=registry
        )
        self.seconds_left.set(math.nan)


class WorkerMetrics:
    """What the worker counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.cache_up = Gauge("worker_cache_up", "1 while the cache answers.", registry=registry)
        self.sending = Gauge("worker_sending", "Messages being sent now.", registry=registry)
        self.reloads = Counter("worker_reloads", "Reloads of the settings by result.", ["result"], registry=registry)
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


class WebMetrics:
    """What the API and the console count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Histogram(
            "web_request_seconds",
            "Duration of a request, from its head to the end of the answer.",
            ["route", "status"],
            buckets=_LATENCY,
            registry=registry,
        )
        self.in_flight = Gauge("web_requests_in_flight", "Requests being answered now.", registry=registry)
        self.bytes_in_flight = Gauge("web_bytes_in_flight", "Octets of request bodies in memory.", registry=registry)
        self.sign_ins = Counter(
            "web_sign_ins", "Keys that were shown, by what was found.", ["result"], registry=registry
        )
        self.limited = Counter("web_rate_limited", "Requests over the rate of their key.", registry=registry)
        self.submitted = Counter("web_submitted", "Messages submitted, by the answer.", ["result"], registry=registry)
        self.quota_refusals = Counter(
            "web_quota_refusals", "Refusals for an account's quota.", ["window", "unit"], registry=registry
        )
        self.cache_up = Gauge("web_cache_up", "1 while the shared cache answers.", registry=registry)
        self.reloads = Counter("web_reloads", "Reloads of the settings by result.", ["result"], registry=registry)


class PoolMetrics(Collector):
    """What the pool of PostgreSQL connections does, asked when somebody looks.

    Args:
        registry: where it is shown.
        stats: the counts of the pool: `AsyncConnectionPool.get_stats`.
    """

    def __init__(self, registry: CollectorRegistry, stats: Callable[[], Mapping[str, int]]) -> None:
        self._stats = stats
        registry.register(self)
        self.transaction_seconds = Histogram(
            "database_transaction_seconds",
            "Duration of a transaction in PostgreSQL, the wait for its connection not counted.",
            buckets=_LATENCY,
            registry=registry,
        )

    @override
    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        connections = GaugeMetricFamily(
            "database_pool_connections",
            "Connections to PostgreSQL; busy ones are in use or being opened.",
            labels=["state"],
        )
        connections.add_metric(["busy"], size - idle)
        connections.add_metric(["idle"], idle)
        yield connections
        yield GaugeMetricFamily(
            "database_pool_max_connections", "Most connections the pool may have.", stats.get("pool_max", 0)
        )
        yield GaugeMetricFamily(
            "database_pool_waiting", "Callers that wait for a connection.", stats.get("requests_waiting", 0)
        )
        requests = CounterMetricFamily(
            "database_pool_requests", "Requests for a connection by result.", labels=["result"]
        )
        errors = stats.get("requests_errors", 0)
        requests.add_metric(["served"], stats.get("requests_num", 0) - errors)
        requests.add_metric(["failed"], errors)
        yield requests
        yield CounterMetricFamily(
            "database_pool_wait_seconds",
            "Time that callers waited for a connection.",
            stats.get("requests_wait_ms", 0) / 1000,
        )
        yield CounterMetricFamily(
            "database_pool_use_seconds", "Time that connections were in use.", stats.get("usage_ms", 0) / 1000
        )


class EventMetrics:
    """What providers told after the send, and what became of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "provider_events",
            "Events of providers by kind and by what they did: applied, stale, waiting, unmatched, duplicate.",
            ["kind", "effect"],
            registry=registry,
        )
        self.unread = Counter(
            "provider_events_unread",
            "Events that did nothing: ignored (of a kind without a meaning here), malformed, foreign (of no provider "
            "that is known).",
            ["reason"],
            registry=registry,
        )
        self.suppressed = Counter(
            "provider_events_suppressed",
            "Addresses put on a suppression list by an event, by reason.",
            ["reason"],
            registry=registry,
        )
        self.lag_seconds = Histogram(
            "provider_event_lag_seconds",
            "From when something happened at a provider to when it was recorded.",
            buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 86400),
            registry=registry,
        )


class OutboxMetrics:
    """What is counted after the send: what accounts are told, and what is forgotten."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.posts = Counter(
            "worker_webhook_posts", "Posts to webhook endpoints by result.", ["result"], registry=registry
        )
        self.forgotten = Counter("worker_forgotten", "Rows removed for their age.", ["what"], registry=registry)
        self.archived = Counter("worker_archived", "Messages written to the archive.", registry=registry)


class WorkerControlMetrics:
    """What the control over providers counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._breakers = Gauge(
            "worker_provider_breaker",
            "0 while mail goes to a provider, 1 while a probe is under way, 2 while it is left alone.",
            ["provider", "id"],
            registry=registry,
        )
        self._rates = Gauge(
            "worker_provider_learned_rate",
            "Recipients per second that a provider seems to take; NaN while it does not complain.",
            ["provider", "id"],
            registry=registry,
        )
        self.throttles = Counter(
            "worker_provider_throttles",
            "Attempts that a provider found too fast or too many, by what it counts.",
            ["provider", "scope"],
            registry=registry,
        )
        self.waited = Counter(
            "worker_provider_waited_seconds",
            "Time that attempts waited for a provider's limits, and then were made.",
            ["provider"],
            registry=registry,
        )
        self.refusals = Counter(
            "worker_provider_refusals",
            "Attempts that were not made now, by what stood against them.",
            ["provider", "reason"],
            registry=registry,
        )

    def show_breaker(self, provider: str, provider_id: str, condition: str) -> None:
        """Show how a provider's breaker stands."""
        self._breakers.labels(provider, provider_id).set({"closed": 0, "half_open": 1, "open": 2}[condition])

    def show_rate(self, provider: str, provider_id: str, rate: float | None) -> None:
        """Show the rate that a provider was found to take, or None for any that it is configured for."""
        self._rates.labels(provider, provider_id).set(math.nan if rate is None else rate)

    def forget(self, provider: str, provider_id: str) -> None:
        """Show nothing of a provider any more."""
        for gauge in (self._breakers, self._rates):
            gauge.remove(provider, provider_id)
