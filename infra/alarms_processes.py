"""Alarms on what processes tell of themselves; no resource has to exist before them."""

from collections.abc import Iterator
from typing import Final

from infra import runbooks
from infra.alarm_spec import AlarmSpec, Runbook
from infra.readings import Formula, Metric
from infra.settings import ServiceName
from infra.watched import Process, share, total

# Outcomes of attempts that are nobody's fault but a provider's, or ours.
_FAULTS: Final = ("provider_down", "misconfigured", "unknown")
_FATES: Final = ("accepted", "permanent", "temporary")
_WORST_BREAKER: Final = 'SELECT MAX(worker_provider_breaker) FROM SCHEMA("{}", id, provider, service)'
HOUR: Final = 3_600
HALF_A_DAY: Final = 12 * HOUR
# A share of fewer messages tells nothing.
ENOUGH: Final = 20


def relay_specs(process: Process) -> Iterator[AlarmSpec]:
    """Yields what the relay tells of itself; no resource has to exist before these alarms."""
    yield from _process(process, "relay", heartbeat="relay_sessions", cache="relay_cache_up")
    replies = {
        result: process.own("relay_messages_total", "Sum", result=result)
        for result in ("accepted", "deferred", "refused")
    }
    yield AlarmSpec(
        name="relay-errors",
        runbook=runbooks.RELAY_ERRORS,
        reading=share({"deferred": replies["deferred"]}, replies, ENOUGH),
        comparison="above",
        threshold=5,
        unit="%",
        periods=3,
        missing="notBreaching",
        severity="critical",
        service="relay",
        rollback=True,
    )
    yield AlarmSpec(
        name="relay-slow",
        runbook=runbooks.RELAY_SLOW,
        reading=process.own("relay_accept_seconds", "p95"),
        comparison="above",
        threshold=0.5,
        unit="s",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service="relay",
        rollback=True,
    )
    shed = {
        reason: process.own("relay_shed_total", "Sum", reason=reason)
        for reason in ("queue_depth", "queue_age", "bytes_in_flight")
    }
    yield _happened("relay-backpressure", runbooks.BACKPRESSURE, total(shed), "relay", periods=2, critical=True)
    yield _happened(
        "relay-full",
        runbooks.RELAY_FULL,
        process.own("relay_shed_total", "Sum", reason="sessions"),
        "relay",
        periods=3,
    )
    yield _happened(
        "relay-sign-in-away",
        runbooks.SIGN_IN,
        process.own("relay_auth_attempts_total", "Sum", result="unavailable"),
        "relay",
        periods=3,
        critical=True,
    )
    yield AlarmSpec(
        name="relay-certificate-expiring",
        runbook=runbooks.CERTIFICATE,
        reading=Formula(
            expression="(expiry - EPOCH(expiry)) / 86400",
            inputs={"expiry": process.own("relay_certificate_expiry_timestamp_seconds", "Minimum", 300)},
        ),
        comparison="below",
        threshold=7,
        unit="days",
        periods=3,
        missing="notBreaching",
        severity="critical",
        service="relay",
    )
    yield _happened(
        "relay-certificate-bootstrap",
        runbooks.BOOTSTRAP,
        process.own("relay_certificate_bootstrap", "Maximum"),
        "relay",
        periods=15,
    )
    yield _happened(
        "relay-certificate-refused",
        runbooks.CERTIFICATE_REFUSED,
        process.own("relay_certificate_reloads_total", "Sum", 300, result="refused"),
        "relay",
        critical=True,
    )


def renewer_specs(process: Process) -> Iterator[AlarmSpec]:
    """Yields what the renewer of certificates tells of itself. It runs twice a day, and tells nothing in between."""
    yield AlarmSpec(
        name="renewer-silent",
        runbook=runbooks.RENEWER_SILENT,
        reading=process.own("certificate_heartbeats_total", "Sum", HALF_A_DAY),
        comparison="below",
        threshold=1,
        unit="run",
        periods=2,
        missing="breaching",
        severity="critical",
    )
    yield AlarmSpec(
        name="renewals-fail",
        runbook=runbooks.RENEWALS_FAIL,
        reading=process.own("certificate_renewal_failures_in_a_row", "Maximum", HOUR),
        comparison="at least",
        threshold=3,
        unit="failures",
        periods=1,
        # Until the next run says otherwise.
        missing="ignore",
        severity="critical",
    )
    for name, runbook, counter in (
        ("renewal-rate-limited", runbooks.RENEWAL_LIMITED, "certificate_rate_limits_total"),
        ("certificate-backup-failed", runbooks.BACKUP_FAILED, "certificate_backup_failures_total"),
    ):
        yield _happened(name, runbook, process.own(counter, "Sum", HOUR), None)


def worker_specs(process: Process) -> Iterator[AlarmSpec]:
    """Yields what the worker tells of itself; no resource has to exist before these alarms."""
    yield from _process(process, "worker", heartbeat="worker_sending", cache="worker_cache_up")
    outcomes = {
        outcome: process.own("worker_outcomes_total", "Sum", outcome=outcome) for outcome in (*_FATES, *_FAULTS)
    }
    yield AlarmSpec(
        name="worker-errors",
        runbook=runbooks.WORKER_ERRORS,
        reading=share({fault: outcomes[fault] for fault in _FAULTS}, outcomes, ENOUGH),
        comparison="above",
        threshold=5,
        unit="%",
        periods=3,
        missing="notBreaching",
        severity="critical",
        service="worker",
        rollback=True,
    )
    for outcome, name, runbook in (
        ("misconfigured", "provider-misconfigured", runbooks.MISCONFIGURED),
        ("unknown", "outcomes-unknown", runbooks.UNKNOWN),
    ):
        reading = process.own("worker_outcomes_total", "Sum", 300, outcome=outcome)
        yield _happened(f"worker-{name}", runbook, reading, "worker")
    yield AlarmSpec(
        name="worker-provider-away",
        runbook=runbooks.PROVIDER_AWAY,
        # Providers come and go, so no alarm could name their metrics.
        reading=Formula(expression=_WORST_BREAKER.format(process.namespace)),
        comparison="at least",
        threshold=2,
        unit="(2 is left alone)",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service="worker",
    )
    yield _happened(
        "worker-events-malformed",
        runbooks.EVENTS_MALFORMED,
        process.own("provider_events_unread_total", "Sum", 300, reason="malformed"),
        "worker",
    )


def web_specs(api: Process, console: Process) -> Iterator[AlarmSpec]:
    """Yields what API and console tell of themselves beside what the balancer tells of them."""
    yield from _process(api, "api", heartbeat="web_requests_in_flight", cache="web_cache_up")
    # Two connections are often both in use, and few pages are looked at.
    yield _exhausted(console, "console", critical=False)


def _process(process: Process, name: ServiceName, *, heartbeat: str, cache: str) -> Iterator[AlarmSpec]:
    """Yields what every service tells of itself."""
    yield AlarmSpec(
        name=f"{name}-silent",
        runbook=runbooks.SILENT,
        reading=process.own(heartbeat, "SampleCount"),
        comparison="below",
        threshold=1,
        unit="report a minute",
        periods=5,
        missing="breaching",
        severity="critical",
        service=name,
    )
    yield AlarmSpec(
        name=f"{name}-pool-busy",
        runbook=runbooks.POOL_BUSY,
        reading=Formula(
            expression="100 * busy / most",
            inputs={
                "busy": process.own("database_pool_connections", "Maximum", state="busy"),
                "most": process.own("database_pool_max_connections", "Maximum"),
            },
        ),
        comparison="above",
        threshold=80,
        unit="%",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service=name,
    )
    yield _exhausted(process, name, critical=True)
    yield AlarmSpec(
        name=f"{name}-cache-away",
        runbook=runbooks.CACHE_AWAY,
        reading=process.own(cache, "Minimum"),
        comparison="below",
        threshold=1,
        unit="(1 is up)",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service=name,
    )


def _exhausted(process: Process, name: ServiceName, *, critical: bool) -> AlarmSpec:
    return _happened(
        f"{name}-pool-exhausted",
        runbooks.POOL_EXHAUSTED,
        process.own("database_pool_requests_total", "Sum", result="failed"),
        name,
        periods=2,
        critical=critical,
    )


def _happened(
    name: str,
    runbook: Runbook,
    reading: Metric | Formula,
    service: ServiceName | None,
    *,
    periods: int = 1,
    critical: bool = False,
) -> AlarmSpec:
    """Returns the alarm on something that should not happen at all."""
    return AlarmSpec(
        name=name,
        runbook=runbook,
        reading=reading,
        comparison="at least",
        threshold=1,
        unit="event",
        periods=periods,
        # Nothing is written of what does not happen.
        missing="notBreaching",
        severity="critical" if critical else "warning",
        service=service,
    )
