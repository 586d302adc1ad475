"""When each service grows and shrinks. There are several reasons to grow, and one to shrink: that all is quiet."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from infra.alarms_services import slowest
from infra.readings import Formula, Metric
from infra.scaling import IN_COOLDOWN, Policy, Step, StepPolicy, TargetPolicy
from infra.settings import ServiceName
from infra.watched import EcsService, Process, Targets, Watched, WatchedQueue, summed

# SCALE-004, 005: what one task should bear.
SESSIONS_PER_TASK: Final = 500
BACKLOG_PER_TASK: Final = 1_000
# `bench.web_status` saw 4.5 ms of CPU a submission at most, 3.1 ms a page of a search, 1.6 ms a status. So many
# submissions, the dearest of what comes often, take 60 % of a quarter of a vCPU; for the rest there is CPU itself.
REQUESTS_PER_TASK: Final = 2_000
# SCALE-008, 009.
BUSY_CPU: Final = 70
QUIET_CPU: Final = 30
# Seconds: the goal for the API, from which on another task may help.
SLOW: Final = 0.3

_GENTLY: Final = -25


def policies(watched: Watched) -> Mapping[ServiceName, tuple[Policy, ...]]:
    """Returns the policies of every service."""
    services = watched.services
    return {
        "relay": tuple(relay(services["relay"], watched.process("relay"))),
        "worker": tuple(worker(services["worker"], watched.queues["delivery"])),
        "api": tuple(api(services["api"], watched.web["api"])),
        "console": tuple(console(services["console"])),
    }


def relay(service: EcsService, process: Process) -> Iterator[Policy]:
    """Yields the relay's policies: sessions, told every ten seconds, and CPU (SCALE-004, SC-8.1, 8.2, 8.3)."""
    yield StepPolicy(
        name="sessions",
        # Every task tells its own number, so the average is that of one task.
        reading=process.own("relay_sessions", "Average", period=10),
        comparison="above",
        threshold=SESSIONS_PER_TASK,
        periods=2,
        steps=(Step(beyond=0, percent=50), Step(beyond=250, percent=100), Step(beyond=500, percent=200)),
    )
    yield _busy(service)
    # With half of what a task should bear, the others can take over what one had.
    sessions = {"load": process.own("relay_sessions", "Average")}
    yield _quiet(service, f"load < {SESSIONS_PER_TASK / 2:g}", sessions, minutes=5)


def worker(service: EcsService, delivery: WatchedQueue) -> Iterator[Policy]:
    """Yields the worker's policies: backlog of each task, and CPU (SCALE-005, SC-9.1, 9.2, 9.3)."""
    backlog = {"waiting": delivery.waiting(), "running": service.running()}
    yield TargetPolicy(
        name="backlog",
        reading=Formula(expression="waiting / running", inputs=backlog),
        target=BACKLOG_PER_TASK,
    )
    yield _busy(service)
    yield _quiet(service, f"waiting / running < {BACKLOG_PER_TASK / 10:g}", backlog, minutes=3)


def api(service: EcsService, targets: Targets) -> Iterator[Policy]:
    """Yields the API's policies: requests of each task, latency, and CPU (SCALE-006).

    AWS's own metric of requests per target looks at one target group, and a release moves traffic to the other; the
    one that is idle reports nothing.
    """
    requests = targets.each("AWS/ApplicationELB", "RequestCountPerTarget", "Sum", "requests")
    yield TargetPolicy(
        name="requests", reading=Formula(expression=summed(requests), inputs=requests), target=REQUESTS_PER_TASK
    )
    yield StepPolicy(
        name="latency",
        reading=slowest(targets),
        comparison="above",
        threshold=SLOW,
        periods=3,
        steps=(Step(beyond=0, percent=25), Step(beyond=0.7, percent=50)),
    )
    yield _busy(service)
    yield _quiet(service, f"{summed(requests)} < {REQUESTS_PER_TASK / 2:g}", requests, minutes=5)


def console(service: EcsService) -> Iterator[Policy]:
    """Yields the console's policies: CPU alone."""
    yield _busy(service)
    yield _quiet(service, minutes=5)


def _busy(service: EcsService) -> StepPolicy:
    return StepPolicy(
        name="cpu",
        reading=service.cpu(),
        comparison="above",
        threshold=BUSY_CPU,
        periods=2,
        steps=(Step(beyond=0, percent=25), Step(beyond=15, percent=50)),
    )


def _quiet(
    service: EcsService, load: str | None = None, inputs: Mapping[str, Metric] = MappingProxyType({}), *, minutes: int
) -> StepPolicy:
    """Returns the policy that shrinks the service once CPU and load were low for so many minutes."""
    calm = " AND ".join(filter(None, (f"cpu < {QUIET_CPU}", load)))
    return StepPolicy(
        name="quiet",
        reading=Formula(expression=f"IF({calm}, 1, 0)", inputs={"cpu": service.cpu(), **inputs}),
        comparison="at least",
        threshold=1,
        periods=minutes,
        steps=(Step(beyond=0, percent=_GENTLY),),
        cooldown=IN_COOLDOWN,
    )
