"""Logs, alarms, dashboards and the web firewall."""

from collections.abc import Iterator
from typing import Any, Final

from infra.graph import Node
from infra.plan.cost.compute import log_gb
from infra.plan.cost.facts import DAYS, MILLION, Charge, Facts

_FINE_SECONDS: Final = 60


def log_group(node: Node, facts: Facts) -> Iterator[Charge]:
    """The group's part of what tasks write, and what it keeps of that."""
    gigabytes = log_gb(facts) * facts.log_share(node)
    yield Charge("logs.ingest", gigabytes)
    yield kept(node, gigabytes, facts)


def kept(group: Node, gigabytes: float, facts: Facts) -> Charge:
    """What a log group keeps of so much a month; without a retention it has a year after a year."""
    days = float(group.inputs.get("retentionInDays") or 365)
    return Charge("logs.storage", gigabytes * facts.assumed("log_compression") * days / DAYS)


def alarm(node: Node, _facts: Facts) -> Iterator[Charge]:
    """An alarm on a metric, or on each metric of an expression."""
    queries: list[dict[str, Any]] = node.inputs.get("metricQueries", [])
    metrics: list[dict[str, Any]] = [query["metric"] for query in queries if query.get("metric")]
    periods = [float(metric.get("period", _FINE_SECONDS)) for metric in metrics] or [
        float(node.inputs.get("period", _FINE_SECONDS))
    ]
    for period in periods:
        yield Charge("alarm.fine" if period < _FINE_SECONDS else "alarm.standard", 1)


def composite(_node: Node, _facts: Facts) -> Iterator[Charge]:
    """An alarm on alarms."""
    yield Charge("alarm.composite", 1)


def dashboard(_node: Node, _facts: Facts) -> Iterator[Charge]:
    """A dashboard."""
    yield Charge("dashboard.month", 1)


def firewall(node: Node, facts: Facts) -> Iterator[Charge]:
    """A web ACL, its rules and what it looks at."""
    yield Charge("firewall.acl", 1)
    yield Charge("firewall.rule", len(node.inputs.get("rules", [])))
    yield Charge("firewall.requests", facts.assumed("web_requests") / MILLION)
