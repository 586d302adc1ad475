"""One page that shows how the stack is. Three dashboards of an account are free; this is one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.readings import Metric, Reading, plotted
from infra.watched import Process, Targets, Watched, share, total

_COLUMNS: Final = 24
_WIDTH: Final = 8
_HEIGHT: Final = 6
# AWS tells what an account costs in this region only.
_BILLING_REGION: Final = "us-east-1"
_PERCENTILES: Final = ("p50", "p95", "p99")


@dataclass(frozen=True, kw_only=True)
class DashboardArgs:
    """What is shown. Alarms come first, as lights."""

    watched: Watched
    region: str
    alarm_arns: Sequence[Input[str]]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """One picture: lines by their labels."""

    title: str
    lines: Mapping[str, Reading]
    region: str | None = None


class Dashboard(pulumi.ComponentResource):
    """Declares the dashboard. What it shows is at most a minute old, or a few hours for costs (NFR-3)."""

    name: Output[str]

    def __init__(self, name: str, args: DashboardArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:dashboard:Dashboard", name, None, opts)

        dashboard = aws.cloudwatch.Dashboard(
            name,
            dashboard_name=name,
            dashboard_body=Output.json_dumps(body(args)),
            opts=ResourceOptions(parent=self),
        )

        self.name = dashboard.dashboard_name
        self.register_outputs({"name": self.name})


def body(args: DashboardArgs) -> Mapping[str, Any]:
    """Returns the page as CloudWatch takes it."""
    lights = {
        "type": "alarm",
        "x": 0,
        "y": 0,
        "width": _COLUMNS,
        "height": _HEIGHT,
        "properties": {"title": "Alarms", "alarms": list(args.alarm_arns)},
    }
    return {"widgets": [lights, *placed(list(graphs(args.watched)), args.region)]}


def placed(pictures: Sequence[Graph], region: str) -> Iterator[Mapping[str, Any]]:
    """Yields the pictures as widgets, three in a row."""
    for number, picture in enumerate(pictures):
        row, column = divmod(number, _COLUMNS // _WIDTH)
        lines = [
            line
            for position, (label, reading) in enumerate(picture.lines.items())
            for line in plotted(reading, label, f"line{position}")
        ]
        yield {
            "type": "metric",
            "x": column * _WIDTH,
            "y": (row + 1) * _HEIGHT,
            "width": _WIDTH,
            "height": _HEIGHT,
            "properties": {
                "title": picture.title,
                "region": picture.region or region,
                "view": "timeSeries",
                "metrics": lines,
                "yAxis": {"left": {"min": 0}},
            },
        }


def graphs(watched: Watched) -> Iterator[Graph]:
    """Yields everything that is shown, in this order."""
    services = watched.services
    yield Graph(title="Tasks", lines={name: service.running() for name, service in services.items()})
    yield Graph(title="CPU, %", lines={name: service.cpu() for name, service in services.items()})
    yield Graph(title="Memory of the fullest task, %", lines={name: s.memory() for name, s in services.items()})
    yield from _mail(watched.process("relay"), watched.process("worker"))
    yield from _queues(watched)
    for name, targets in watched.web.items():
        yield from _web(name, targets)
    yield from _platform(watched)
    spent = Metric(
        namespace="AWS/Billing",
        name="EstimatedCharges",
        dimensions={"Currency": "USD"},
        stat="Maximum",
        period=21_600,
    )
    yield Graph(title="Cost of the account this month, $", lines={"so far": spent}, region=_BILLING_REGION)


def _mail(relay: Process, worker: Process) -> Iterator[Graph]:
    replies = {
        result: relay.own("relay_messages_total", "Sum", result=result)
        for result in ("accepted", "deferred", "refused")
    }
    outcomes = {
        outcome: worker.own("worker_outcomes_total", "Sum", outcome=outcome)
        for outcome in ("accepted", "temporary", "permanent", "provider_down", "misconfigured", "unknown")
    }
    yield Graph(title="Sessions of a relay task", lines={"average": relay.own("relay_sessions", "Average")})
    yield Graph(title="Messages a minute at the relay", lines=replies)
    yield Graph(title="Messages deferred, %", lines={"deferred": share({"deferred": replies["deferred"]}, replies, 0)})
    yield _latency("Accepting, s", relay.own("relay_accept_seconds", "p95"))
    yield _latency("From the 250 to the provider's, s", worker.own("worker_accept_to_delivered_seconds", "p95"))
    yield _latency("Attempts at providers, s", worker.own("worker_send_seconds", "p95"))
    yield Graph(title="Recipients a minute by outcome", lines=outcomes)


def _queues(watched: Watched) -> Iterator[Graph]:
    queues = watched.queues
    yield Graph(title="Messages waiting", lines={name: queue.waiting() for name, queue in queues.items()})
    yield Graph(title="Age of the oldest message, s", lines={name: queue.age() for name, queue in queues.items()})
    yield Graph(title="Dead letters", lines={name: queue.dead() for name, queue in queues.items()})


def _web(name: str, targets: Targets) -> Iterator[Graph]:
    requests = targets.each("AWS/ApplicationELB", "RequestCount", "Sum", "requests")
    failed = targets.each("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", "failed")
    yield Graph(title=f"Requests a minute: {name}", lines={"requests": total(requests)})
    yield Graph(title=f"Failed requests: {name}, %", lines={"failed": share(failed, requests, 0)})
    times = {
        label.replace("_", " "): metric
        for percentile in _PERCENTILES
        for label, metric in targets.each("AWS/ApplicationELB", "TargetResponseTime", percentile, percentile).items()
    }
    yield Graph(title=f"Latency: {name}, s", lines=times)


def _platform(watched: Watched) -> Iterator[Graph]:
    def database(name: str) -> Metric:
        dimensions = {"DBInstanceIdentifier": watched.database}
        return Metric(namespace="AWS/RDS", name=name, dimensions=dimensions, stat="Average")

    def cache(name: str, node: Input[str], dimension: str) -> Metric:
        return Metric(namespace="AWS/ElastiCache", name=name, dimensions={dimension: node}, stat="Average")

    yield Graph(title="Database: CPU, %", lines={"CPU": database("CPUUtilization")})
    yield Graph(title="Database: connections", lines={"connections": database("DatabaseConnections")})
    yield Graph(
        title="Database: latency, s", lines={"read": database("ReadLatency"), "write": database("WriteLatency")}
    )
    if watched.cache_nodes:
        nodes = {
            f"node {n}": cache("EngineCPUUtilization", node, "CacheClusterId")
            for n, node in enumerate(watched.cache_nodes, 1)
        }
        yield Graph(title="Cache: CPU, %", lines=nodes)
    else:
        units = cache("ElastiCacheProcessingUnits", watched.cache, "clusterId")
        yield Graph(title="Cache: processing units", lines={"units": units})


def _latency(title: str, metric: Metric) -> Graph:
    return Graph(title=title, lines={stat: replace(metric, stat=stat) for stat in _PERCENTILES})
