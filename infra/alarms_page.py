"""The page of alarms in the documentation, made of the same table as the alarms."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from infra import runbooks
from infra.alarm_spec import AlarmSpec, Runbook
from infra.alarms import specs
from infra.readings import Formula, Metric, Reading, metrics
from infra.settings import ServiceName, Settings
from infra.watched import EcsService, Targets, Watched, WatchedQueue, cache_nodes

# EventBridge tells of these; there is no metric to compare.
_EVENTS: Final = (
    (runbooks.DEPLOYMENT_FAILED, "ECS or CodeDeploy takes a release back"),
    (runbooks.RENEWAL_FAILED, "the renewer's task ends with another code than 0 or 75, or does not start"),
)
_MISSING: Final = {"breaching": "bad", "notBreaching": "good", "ignore": "as before"}


def page(settings: Settings) -> Iterator[str]:
    """Yields the lines of the page."""
    found = specs(example(settings))
    yield from (
        f"Thresholds are those of the stack `{settings.stack}` as it is configured. Names in CloudWatch begin with the",
        f"stack's, as in `{settings.prefix}-{found[0].name}`. Every alarm tells the topic of alarms when it goes off",
        "and when it is over; `alarmEmails` are subscribed to it. *No data* says what a minute without any counts for.",
        "An alarm marked *rollback* also takes back a release of its service. Each service has one more alarm, such as",
        f"`{settings.prefix}-relay-impaired`, which is on while any of its critical alarms is.",
    )
    by_runbook = sorted(found, key=lambda spec: spec.runbook.anchor)
    for _, group in groupby(by_runbook, key=lambda spec: spec.runbook.anchor):
        yield from _section(list(group))
    for runbook, event in _EVENTS:
        yield from (*_head(runbook), "", f"Goes off when {event}.", *_steps(runbook))


def example(settings: Settings) -> Watched:
    """Returns what a stack of these settings would have to watch, under made-up names."""
    services: dict[ServiceName, EcsService] = {
        name: EcsService(settings=service, cluster="cluster", name=name, insights=settings.watch.insights)
        for name, service in settings.services.items()
    }
    inbound = ("inbound",) if settings.ses.inbound_domains else ()
    queues = {
        name: WatchedQueue(name=name, dead_letter_name=f"{name}-dead") for name in ("delivery", "events", *inbound)
    }
    apps = {
        f"app-{name}": WatchedQueue(name=f"app-{name}", dead_letter_name=f"app-{name}-dead", ours=False)
        for name in settings.ses.app_queues
    }
    gateways = {"nat-single": 1, "nat-per-zone": len(settings.network.zones), "nat-regional": 1, "public-ip": 0}
    clustered = settings.cache.mode == "cluster"
    return Watched(
        services=services,
        queues={**queues, **apps},
        smtp={port: _targets("net/smtp/1", f"smtp-{port}") for port in (587, 465)},
        web={"api": _targets("app/web/1", "api"), "console": _targets("app/web/1", "console")},
        nat_gateway_ids=[f"nat-{number}" for number in range(gateways[settings.network.egress])],
        database="database",
        database_settings=settings.database,
        cache="cache",
        cache_nodes=cache_nodes("cache", settings.cache.replicas) if clustered else (),
    )


def _targets(balancer: str, name: str) -> Targets:
    return Targets(balancer=balancer, blue=f"targetgroup/{name}-blue/1", green=f"targetgroup/{name}-green/1")


def _section(alarms: Sequence[AlarmSpec]) -> Iterator[str]:
    runbook = alarms[0].runbook
    yield from _head(runbook)
    yield from ("", "| alarm | goes off | of | no data | severity |", "|---|---|---|---|---|")
    for alarm in alarms:
        marks = f"{alarm.severity}, rollback" if alarm.rollback else alarm.severity
        yield (
            f"| `{alarm.name}` | {alarm.condition} for {_span(alarm)} | {measured(alarm.reading)} | "
            f"{_MISSING[alarm.missing]} | {marks} |"
        )
    yield from _steps(runbook)


def _head(runbook: Runbook) -> tuple[str, ...]:
    return ("", f"## {runbook.anchor}", "", runbook.why)


def _steps(runbook: Runbook) -> Iterator[str]:
    yield ""
    yield from (f"{number}. {step}" for number, step in enumerate(runbook.steps, 1))


def _span(alarm: AlarmSpec) -> str:
    seconds = alarm.periods * max([metric.period for metric in metrics(alarm.reading)], default=60)
    return f"{seconds // 60} min"


def measured(reading: Reading) -> str:
    """Returns what is measured, in words."""
    if isinstance(reading, Metric):
        return f"`{reading.namespace}` `{reading.name}`{_labels(reading)}, {reading.stat}"
    if not reading.inputs:
        return f"`{reading.expression}`"
    names = dict.fromkeys(f"`{metric.namespace}` `{metric.name}`" for metric in reading.inputs.values())
    return f"{', '.join(names)}: `{_shown(reading)}`"


def _shown(reading: Formula) -> str:
    return reading.expression.replace("|", "\\|")


def _labels(metric: Metric) -> str:
    own = "service" in metric.dimensions
    labels = [f"{key}={value}" for key, value in metric.dimensions.items() if own and key != "service"]
    return f" {{{', '.join(labels)}}}" if labels else ""
