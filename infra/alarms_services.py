"""Alarms of the services: what ECS and the balancers tell of them."""

import math
from collections.abc import Iterator, Mapping

from infra import runbooks
from infra.alarm_spec import AlarmSpec
from infra.alarms_processes import ENOUGH
from infra.readings import Formula, Metric
from infra.settings import ServiceName
from infra.watched import EcsService, Targets, Watched, share, total


def specs(watched: Watched) -> Iterator[AlarmSpec]:
    """Yields the alarms of all services."""
    for name, service in watched.services.items():
        yield from _tasks(name, service)
    for name, targets in watched.web.items():
        yield from _web(name, targets)
    unhealthy = {
        f"{name}_{port}": metric
        for port, targets in watched.smtp.items()
        for name, metric in targets.each("AWS/NetworkELB", "UnHealthyHostCount", "Maximum", "unhealthy").items()
    }
    yield _unhealthy("relay", unhealthy)


def _tasks(name: ServiceName, service: EcsService) -> Iterator[AlarmSpec]:
    yield AlarmSpec(
        name=f"{name}-tasks-missing",
        runbook=runbooks.TASKS_MISSING,
        reading=service.missing(),
        comparison="above",
        threshold=50,
        unit="%",
        periods=2,
        # Without a task there is nothing that could report.
        missing="breaching",
        severity="critical",
        service=name,
    )
    yield from _maximum(name, service)
    yield AlarmSpec(
        name=f"{name}-memory",
        runbook=runbooks.MEMORY,
        reading=service.memory(),
        comparison="above",
        threshold=90,
        unit="%",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service=name,
    )


def _maximum(name: ServiceName, service: EcsService) -> Iterator[AlarmSpec]:
    """Yields what warns before and at the maximum, where a service has room to grow."""
    least, most = service.settings.tasks, service.settings.max_tasks
    near = math.ceil(0.8 * most)
    if least < near < most:
        yield AlarmSpec(
            name=f"{name}-tasks-near-maximum",
            runbook=runbooks.NEAR_MAXIMUM,
            reading=service.desired(),
            comparison="at least",
            threshold=near,
            unit="tasks",
            periods=5,
            missing="notBreaching",
            severity="warning",
            service=name,
        )
    if least < most:
        yield AlarmSpec(
            name=f"{name}-tasks-at-maximum",
            runbook=runbooks.AT_MAXIMUM,
            reading=service.desired(),
            comparison="at least",
            threshold=most,
            unit="tasks",
            periods=3,
            missing="notBreaching",
            severity="critical",
            service=name,
        )


def _web(name: ServiceName, targets: Targets) -> Iterator[AlarmSpec]:
    failed = targets.each("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "Sum", "failed")
    requests = targets.each("AWS/ApplicationELB", "RequestCount", "Sum", "requests")
    yield AlarmSpec(
        name=f"{name}-errors",
        runbook=runbooks.WEB_ERRORS,
        reading=share(failed, requests, ENOUGH),
        comparison="above",
        threshold=5,
        unit="%",
        periods=3,
        missing="notBreaching",
        severity="critical",
        service=name,
        rollback=True,
    )
    if name == "api":
        yield AlarmSpec(
            name="api-slow",
            runbook=runbooks.API_SLOW,
            reading=slowest(targets),
            comparison="above",
            threshold=0.3,
            unit="s",
            periods=3,
            missing="notBreaching",
            severity="warning",
            service=name,
            rollback=True,
        )
    yield _unhealthy(name, targets.each("AWS/ApplicationELB", "UnHealthyHostCount", "Maximum", "unhealthy"))


def slowest(targets: Targets) -> Formula:
    """Seconds that 95 % of requests take at most, of the slower colour."""
    times = targets.each("AWS/ApplicationELB", "TargetResponseTime", "p95", "seconds")
    return Formula(expression=f"MAX([{', '.join(f'FILL({name}, 0)' for name in times)}])", inputs=times)


def _unhealthy(name: ServiceName, counts: Mapping[str, Metric]) -> AlarmSpec:
    return AlarmSpec(
        name=f"{name}-targets-unhealthy",
        runbook=runbooks.UNHEALTHY,
        reading=total(counts),
        comparison="above",
        threshold=0,
        unit="tasks",
        periods=5,
        missing="notBreaching",
        severity="warning",
        service=name,
    )
