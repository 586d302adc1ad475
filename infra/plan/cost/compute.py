"""Services, their tasks, and what comes with each task."""

from collections.abc import Iterator
from typing import Any, Final

from infra.graph import Node
from infra.plan.cost.facts import GB, MILLION, SERVICE, TASK, Charge, Facts
from infra.values import nested

_FREE_DISK_GB: Final = 20
_RUN_HOURS: Final = 5 / 60


def service(node: Node, facts: Facts) -> Iterator[Charge]:
    """Fargate by task size, architecture and Spot, and what every task asks of other services."""
    tasks = facts.tasks(node)
    hours = tasks * facts.hours * _paid_share(node, tasks, facts.assumed("spot_share"))
    for task in facts.referred(node, "taskDefinition", TASK):
        yield from _size(task, hours)
    if nested(node.inputs, "networkConfiguration", "assignPublicIp") is True:
        yield Charge("network.address", tasks * facts.hours)
    yield Charge("queue.requests", tasks * facts.assumed("queue_polls") / MILLION)
    yield Charge("secret.requests", tasks * facts.assumed("secret_reads") / MILLION)
    yield Charge("metrics.custom", facts.assumed(_metrics(node)))
    outside = facts.mail_gb * facts.assumed("wire_factor") * facts.assumed("outside_share")
    yield Charge("network.internet", outside * facts.share(node, "worker"))


def cluster(node: Node, facts: Facts) -> Iterator[Charge]:
    """Container Insights: metrics of the cluster, each service and each family, and the log they are read from."""
    settings: list[dict[str, Any]] = node.inputs.get("settings", [])
    modes = [setting["value"] for setting in settings if setting["name"] == "containerInsights"]
    if not {"enabled", "enhanced"} & set(modes):
        return
    services = facts.referring(SERVICE, "cluster", node)
    metrics = facts.assumed("insights_cluster") + len(services) * (
        facts.assumed("insights_service") + facts.assumed("insights_family")
    )
    yield Charge("metrics.enhanced" if "enhanced" in modes else "metrics.custom", metrics)
    yield Charge("logs.ingest", sum(map(facts.tasks, services)) * facts.assumed("insights_task_gb"))


def schedule(node: Node, facts: Facts) -> Iterator[Charge]:
    """A schedule, and the tasks it runs."""
    runs = facts.assumed("scheduled_runs")
    yield Charge("schedule.runs", runs / MILLION)
    for task in facts.referred(node, "target", TASK):
        yield from _size(task, runs * _RUN_HOURS)


def namespace(node: Node, facts: Facts) -> Iterator[Charge]:
    """A service of Cloud Map: each task is an instance."""
    services = facts.referring(SERVICE, "serviceRegistries", node)
    yield Charge("namespace.instance", sum(map(facts.tasks, services)))


def _size(task: Node, hours: float) -> Iterator[Charge]:
    architecture = (nested(task.inputs, "runtimePlatform", "cpuArchitecture") or "X86_64").lower()
    yield Charge(f"fargate.{architecture}.vcpu", hours * float(task.inputs.get("cpu", 0)) / 1024)
    yield Charge(f"fargate.{architecture}.memory", hours * float(task.inputs.get("memory", 0)) / 1024)
    disk = nested(task.inputs, "ephemeralStorage", "sizeInGib") or _FREE_DISK_GB
    yield Charge("fargate.disk", hours * (disk - _FREE_DISK_GB))


def _paid_share(node: Node, tasks: float, spot_price: float) -> float:
    """What the tasks cost beside as many on Fargate: those above the base are dealt out by weight."""
    strategies: list[dict[str, Any]] = node.inputs.get("capacityProviderStrategies", [])
    weights = sum(strategy.get("weight", 0) for strategy in strategies)
    if not tasks or not weights:
        return 1.0
    above = max(0.0, tasks - sum(strategy.get("base", 0) for strategy in strategies))
    spot = sum(
        min(tasks, strategy.get("base", 0)) + above * strategy.get("weight", 0) / weights
        for strategy in strategies
        if strategy["capacityProvider"] == "FARGATE_SPOT"
    )
    return 1 - min(1.0, spot / tasks) * (1 - spot_price)


def _metrics(node: Node) -> str:
    return next((f"metrics_{room}" for room in ("relay", "worker") if room in node.name), "metrics_other")


def log_gb(facts: Facts) -> float:
    """GB that the tasks of all services write to their logs in a month."""
    return facts.per_mail("log_bytes") / GB + facts.all_tasks * facts.assumed("metric_log_gb")
