"""CloudWatch metrics as values: said once, and read by alarms, scaling policies and the dashboard alike."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi import Input
from pulumi_aws.appautoscaling import (
    PolicyTargetTrackingScalingPolicyConfigurationCustomizedMetricSpecificationMetricArgsDict as Tracked,
)
from pulumi_aws.cloudwatch import MetricAlarmMetricQueryArgsDict, MetricAlarmMetricQueryMetricArgsDict

MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric, and what is asked of it."""

    namespace: str
    name: str
    dimensions: Mapping[str, Input[str]]
    stat: str
    """Average, Sum, Minimum, Maximum, SampleCount, or a percentile such as p95."""
    period: int = MINUTE
    """Seconds; below a minute only for metrics of high resolution."""


@dataclass(frozen=True, kw_only=True)
class Formula:
    """Metric math over metrics named by identifiers, or a Metrics Insights query over none."""

    expression: str
    inputs: Mapping[str, Metric] = field(default_factory=dict[str, Metric])


Reading = Metric | Formula


def queries(reading: Reading) -> list[MetricAlarmMetricQueryArgsDict]:
    """Returns the reading as an alarm takes it: only its result is compared."""
    if isinstance(reading, Metric):
        return [{"id": "value", "metric": _alarmed(reading), "return_data": True}]
    result: MetricAlarmMetricQueryArgsDict = {"id": "value", "expression": reading.expression, "return_data": True}
    if not reading.inputs:
        result["period"] = MINUTE
    inputs: list[MetricAlarmMetricQueryArgsDict] = [
        {"id": name, "metric": _alarmed(metric), "return_data": False} for name, metric in reading.inputs.items()
    ]
    return [*inputs, result]


def tracked(reading: Formula) -> list[Tracked]:
    """Returns the formula as a target tracking policy takes it: it has no periods, and names its dimensions."""
    inputs: list[Tracked] = [
        {
            "id": name,
            "metric_stat": {
                "metric": {
                    "namespace": metric.namespace,
                    "metric_name": metric.name,
                    "dimensions": [{"name": key, "value": value} for key, value in metric.dimensions.items()],
                },
                "stat": metric.stat,
            },
            "return_data": False,
        }
        for name, metric in reading.inputs.items()
    ]
    return [*inputs, {"id": "value", "expression": reading.expression, "return_data": True}]


def plotted(reading: Reading, label: str, name: str) -> list[list[Any]]:
    """Returns the reading as lines of a dashboard's widget; `name` tells it apart from the widget's others."""
    if isinstance(reading, Metric):
        return [_line(reading, {"label": label})]
    # Identifiers are the widget's, so inputs of two formulas must not share one.
    names = {key: f"{name}_{key}" for key in reading.inputs}
    inputs = [_line(metric, {"id": names[key], "visible": False}) for key, metric in reading.inputs.items()]
    expression = re.sub(r"[a-z]\w*", lambda found: names.get(found[0], found[0]), reading.expression)
    return [*inputs, [{"expression": expression, "label": label, "id": name}]]


def metrics(reading: Reading) -> list[Metric]:
    """Returns the metrics that a reading is made of."""
    return [reading] if isinstance(reading, Metric) else list(reading.inputs.values())


def _alarmed(metric: Metric) -> MetricAlarmMetricQueryMetricArgsDict:
    return {
        "namespace": metric.namespace,
        "metric_name": metric.name,
        "dimensions": metric.dimensions,
        "stat": metric.stat,
        "period": metric.period,
    }


def _line(metric: Metric, options: Mapping[str, Any]) -> list[Any]:
    named = [part for pair in metric.dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *named, {**options, "stat": metric.stat, "period": metric.period}]
