"""Alarms of what the services stand on: queues, database, cache, the ways out, and Amazon SES."""

from collections.abc import Iterator
from typing import Final

from infra import runbooks
from infra.alarm_spec import AlarmSpec, Runbook
from infra.checks import DATABASE_MEMORY
from infra.readings import Formula, Metric, Reading
from infra.settings import DatabaseSettings
from infra.watched import Watched, WatchedQueue, total

# SCALE-007: relays turn mail away above it.
CRITICAL_DEPTH: Final = 50_000
_GIB: Final = 1_073_741_824
_DELIVERY: Final = "delivery"


def specs(watched: Watched) -> Iterator[AlarmSpec]:
    """Yields the alarms of everything that is no service."""
    for name, queue in watched.queues.items():
        yield from _queue(name, queue)
    yield from _database(watched)
    yield from _cache(watched)
    yield from _ways_out(watched)
    yield from _ses()


def _queue(name: str, queue: WatchedQueue) -> Iterator[AlarmSpec]:
    if name == _DELIVERY:
        yield AlarmSpec(
            name="delivery-depth",
            runbook=runbooks.DEPTH,
            reading=queue.waiting(),
            comparison="above",
            threshold=CRITICAL_DEPTH,
            unit="messages",
            periods=2,
            # SQS reports nothing of a queue that was idle for hours.
            missing="notBreaching",
            severity="critical",
            service="worker",
        )
    if queue.ours:
        yield AlarmSpec(
            name=f"{name}-age",
            runbook=runbooks.AGE,
            reading=queue.age(),
            comparison="above",
            threshold=300,
            unit="s",
            periods=5,
            missing="notBreaching",
            severity="critical",
            service="worker",
        )
    yield AlarmSpec(
        name=f"{name}-dead-letters",
        runbook=runbooks.DEAD_LETTERS,
        reading=queue.dead(),
        comparison="above",
        threshold=0,
        unit="messages",
        periods=1,
        missing="notBreaching",
        severity="warning",
    )


def _database(watched: Watched) -> Iterator[AlarmSpec]:
    settings = watched.database_settings

    def of(name: str, stat: str, period: int = 300) -> Metric:
        dimensions = {"DBInstanceIdentifier": watched.database}
        return Metric(namespace="AWS/RDS", name=name, dimensions=dimensions, stat=stat, period=period)

    yield _above("database-cpu", runbooks.DATABASE_CPU, of("CPUUtilization", "Average"), 80, "%")
    yield _above(
        "database-connections",
        runbooks.DATABASE_CONNECTIONS,
        of("DatabaseConnections", "Maximum", 60),
        round(0.8 * settings.max_connections),
        "connections",
        periods=5,
    )
    yield _above("database-load", runbooks.DATABASE_LOAD, of("DBLoad", "Average"), 2 * vcpus(settings), "sessions")
    yield _below(
        "database-storage",
        runbooks.DATABASE_STORAGE,
        of("FreeStorageSpace", "Minimum"),
        round(0.1 * settings.storage_gb * _GIB),
        "bytes",
        critical=True,
    )
    yield _below(
        "database-memory",
        runbooks.DATABASE_MEMORY,
        of("FreeableMemory", "Minimum"),
        round(0.05 * DATABASE_MEMORY[settings.instance_class] * _GIB),
        "bytes",
    )
    if settings.instance_class.startswith("db.t"):
        yield _below("database-credits", runbooks.DATABASE_CREDITS, of("CPUCreditBalance", "Minimum"), 20, "credits")


def vcpus(settings: DatabaseSettings) -> int:
    """Virtual CPUs of the instance: two, and above the size "large" as many fours as its name says."""
    size = settings.instance_class.rpartition(".")[2]
    if not size.endswith("xlarge"):
        return 2
    return 4 * int(size.removesuffix("xlarge") or 1)


def _cache(watched: Watched) -> Iterator[AlarmSpec]:
    if not watched.cache_nodes:
        throttled = Metric(
            namespace="AWS/ElastiCache", name="ThrottledCmds", dimensions={"clusterId": watched.cache}, stat="Sum"
        )
        yield _above("cache-throttled", runbooks.CACHE_THROTTLED, throttled, 0, "commands", periods=3)
        return
    for name, metric in (("cpu", "EngineCPUUtilization"), ("memory", "DatabaseMemoryUsagePercentage")):
        nodes = {
            f"node{number}": Metric(
                namespace="AWS/ElastiCache", name=metric, dimensions={"CacheClusterId": node}, stat="Maximum"
            )
            for number, node in enumerate(watched.cache_nodes, 1)
        }
        fullest = Formula(expression=f"MAX([{', '.join(nodes)}])", inputs=nodes)
        yield _above(f"cache-{name}", runbooks.CACHE_FULL, fullest, 80, "%", periods=5)


def _ways_out(watched: Watched) -> Iterator[AlarmSpec]:
    for targets in list(watched.smtp.values())[:1]:  # all ports hang on one balancer
        failed = Metric(
            namespace="AWS/NetworkELB",
            name="PortAllocationErrorCount",
            dimensions={"LoadBalancer": targets.balancer},
            stat="Sum",
        )
        yield _above("balancer-ports", runbooks.PORTS, failed, 0, "errors", periods=3)
    gateways = {
        f"gateway{number}": Metric(
            namespace="AWS/NATGateway",
            name="ErrorPortAllocation",
            dimensions={"NatGatewayId": gateway},
            stat="Sum",
        )
        for number, gateway in enumerate(watched.nat_gateway_ids, 1)
    }
    if gateways:
        yield _above("nat-ports", runbooks.PORTS, total(gateways), 0, "errors", periods=3)
    for targets in list(watched.web.values())[:1]:
        refused = Metric(
            namespace="AWS/ApplicationELB",
            name="HTTPCode_ELB_5XX_Count",
            dimensions={"LoadBalancer": targets.balancer},
            stat="Sum",
        )
        yield _above("web-balancer-errors", runbooks.BALANCER_ERRORS, refused, 20, "a minute", periods=3)


def _ses() -> Iterator[AlarmSpec]:
    # Of the whole account, as AWS judges it. Sending is reviewed at 5 % bounces and 0.1 % complaints.
    for name, metric, threshold, runbook in (
        ("ses-bounces", "Reputation.BounceRate", 0.05, runbooks.BOUNCES),
        ("ses-complaints", "Reputation.ComplaintRate", 0.001, runbooks.COMPLAINTS),
    ):
        yield AlarmSpec(
            name=name,
            runbook=runbook,
            reading=Metric(namespace="AWS/SES", name=metric, dimensions={}, stat="Average", period=3600),
            comparison="above",
            threshold=threshold,
            unit="of all mail",
            periods=1,
            # It is told only while mail is sent, and a bad name does not mend by silence.
            missing="ignore",
            severity="critical",
        )


def _above(
    name: str, runbook: Runbook, reading: Reading, threshold: float, unit: str, *, periods: int = 3
) -> AlarmSpec:
    return AlarmSpec(
        name=name,
        runbook=runbook,
        reading=reading,
        comparison="above",
        threshold=threshold,
        unit=unit,
        periods=periods,
        missing="notBreaching",
        severity="warning",
    )


def _below(
    name: str, runbook: Runbook, reading: Reading, threshold: float, unit: str, *, critical: bool = False
) -> AlarmSpec:
    return AlarmSpec(
        name=name,
        runbook=runbook,
        reading=reading,
        comparison="below",
        threshold=threshold,
        unit=unit,
        periods=3,
        missing="notBreaching",
        severity="critical" if critical else "warning",
    )
