"""Every alarm in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.graph import Graph, Node

ALARM: Final = "aws:cloudwatch/metricAlarm:MetricAlarm"
COMPOSITE: Final = "aws:cloudwatch/compositeAlarm:CompositeAlarm"

_SIGNS: Final[Mapping[str, str]] = {
    "GreaterThanOrEqualToThreshold": ">=",
    "GreaterThanThreshold": ">",
    "LessThanOrEqualToThreshold": "<=",
    "LessThanThreshold": "<",
}


@dataclass(frozen=True, kw_only=True, order=True)
class Alarm:
    """When an alarm goes off."""

    name: str
    when: str
    description: str


def alarms(graph: Graph) -> tuple[Alarm, ...]:
    """Returns the alarms by name."""
    metric = [_alarm(node, _condition(node)) for node in graph.of_type(ALARM)]
    composite = [_alarm(node, str(node.inputs["alarmRule"])) for node in graph.of_type(COMPOSITE)]
    return tuple(sorted(metric + composite))


def _alarm(node: Node, when: str) -> Alarm:
    return Alarm(name=node.name, when=when, description=str(node.inputs.get("alarmDescription", "")))


def _condition(node: Node) -> str:
    inputs = node.inputs
    sign = _SIGNS.get(str(inputs.get("comparisonOperator")), str(inputs.get("comparisonOperator")))
    periods = inputs.get("evaluationPeriods", 1)
    needed = inputs.get("datapointsToAlarm") or periods
    seconds = _seconds(inputs)
    limit = float(inputs.get("threshold", 0))
    shown = f"{limit:,.0f}" if limit.is_integer() else f"{limit:g}"
    return f"{_measured(inputs)} {sign} {shown}, {needed:g} of {periods:g} times {seconds:g} s"


def _measured(inputs: Mapping[str, Any]) -> str:
    queries: list[Mapping[str, Any]] = inputs.get("metricQueries", [])
    shown = [query for query in queries if query.get("returnData") is True]
    if not queries:
        statistic = inputs.get("statistic") or inputs.get("extendedStatistic")
        return f"{statistic} of {inputs.get('namespace')} {inputs.get('metricName')}"
    query = (shown or queries)[-1]
    metric = query.get("metric")
    text = f"{metric['stat']} of {metric['namespace']} {metric['metricName']}" if metric else query.get("expression")
    return str(query.get("label") or text)


def _seconds(inputs: Mapping[str, Any]) -> float:
    queries: list[Mapping[str, Any]] = inputs.get("metricQueries", [])
    periods = [query["metric"]["period"] for query in queries if query.get("metric")]
    return float(inputs.get("period") or max(periods, default=60))
