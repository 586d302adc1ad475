"""How many tasks a service has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.alarm_spec import OPERATORS, Comparison
from infra.readings import Formula, Reading, queries, tracked
from infra.settings import ScheduledTasks, ServiceSettings

_NAMESPACE = "ecs"
_DIMENSION = "ecs:service:DesiredCount"
# Seconds between two changes for the same reason. A new task takes about a minute to take load.
OUT_COOLDOWN = 60
# SC-8.3: a task that leaves is drained for so long; only then do the others show what they bear without it.
IN_COOLDOWN = 300
# Percent of CPU that a forecast aims at, and seconds by which tasks are started ahead of it.
_FORECAST_CPU = 60
_FORECAST_AHEAD = 300


@dataclass(frozen=True, kw_only=True)
class Step:
    """From so much beyond the threshold on, change the number of tasks by so many percent, but by one at least."""

    beyond: float
    percent: int


@dataclass(frozen=True, kw_only=True)
class StepPolicy:
    """Act while a reading has been on one side of a threshold for so many periods; what is not known is no reason."""

    name: str
    reading: Reading
    comparison: Comparison
    threshold: float
    periods: int
    steps: tuple[Step, ...]
    """Ascending, the first from 0 on."""
    cooldown: int = OUT_COOLDOWN


@dataclass(frozen=True, kw_only=True)
class TargetPolicy:
    """Grow so that a reading per task comes down to the target. It never shrinks the service (see `StepPolicy`)."""

    name: str
    reading: Formula
    target: float


Policy = StepPolicy | TargetPolicy
# Only compute and show what would be needed, or act upon it.
Forecast = Literal["ForecastOnly", "ForecastAndScale"]


@dataclass(frozen=True, kw_only=True)
class ScalingArgs:
    """The service by its names in ECS, its bounds, the reasons to change, known peaks, and whether to forecast."""

    service: ServiceSettings
    cluster_name: Input[str]
    service_name: Input[str]
    policies: Sequence[Policy]
    prewarm: Sequence[ScheduledTasks] = ()
    forecast: Forecast | None = None


class Scaling(pulumi.ComponentResource):
    """Declares the bounds of a service, its policies with their alarms, and what is scheduled.

    The service is another's, and has to ignore changes of its desired count. Nothing here goes beyond its maximum
    (SCALE-011).
    """

    resource_id: Output[str]

    def __init__(self, name: str, args: ScalingArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:scaling:Scaling", name, None, opts)
        child = ResourceOptions(parent=self)

        target = aws.appautoscaling.Target(
            name,
            service_namespace=_NAMESPACE,
            scalable_dimension=_DIMENSION,
            resource_id=Output.concat("service/", args.cluster_name, "/", args.service_name),
            min_capacity=args.service.tasks,
            max_capacity=args.service.max_tasks,
            opts=child,
        )
        for policy in args.policies:
            if isinstance(policy, StepPolicy):
                self._step(f"{name}-{policy.name}", policy, target, child)
            else:
                self._track(f"{name}-{policy.name}", policy, target, child)
        if args.forecast is not None:
            self._forecast(f"{name}-forecast", args.forecast, target, child)
        for number, peak in enumerate(args.prewarm, 1):
            aws.appautoscaling.ScheduledAction(
                f"{name}-peak-{number}",
                service_namespace=target.service_namespace,
                scalable_dimension=target.scalable_dimension,
                resource_id=target.resource_id,
                schedule=peak.schedule,
                timezone=peak.timezone,
                scalable_target_action={"min_capacity": peak.tasks, "max_capacity": args.service.max_tasks},
                opts=child,
            )

        self.resource_id = target.resource_id
        self.register_outputs({"resource_id": self.resource_id})

    @staticmethod
    def _step(name: str, policy: StepPolicy, target: aws.appautoscaling.Target, opts: ResourceOptions) -> None:
        ends = [*[str(step.beyond) for step in policy.steps[1:]], None]
        scaling = aws.appautoscaling.Policy(
            name,
            policy_type="StepScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            step_scaling_policy_configuration={
                "adjustment_type": "PercentChangeInCapacity",
                "min_adjustment_magnitude": 1,
                "metric_aggregation_type": "Average",
                "cooldown": policy.cooldown,
                "step_adjustments": [
                    {
                        "scaling_adjustment": step.percent,
                        "metric_interval_lower_bound": str(step.beyond),
                        "metric_interval_upper_bound": end,
                    }
                    for step, end in zip(policy.steps, ends, strict=True)
                ],
            },
            opts=opts,
        )
        aws.cloudwatch.MetricAlarm(
            name,
            alarm_description=f"Changes the number of tasks ({policy.name}); nothing for people to do.",
            comparison_operator=OPERATORS[policy.comparison],
            threshold=policy.threshold,
            evaluation_periods=policy.periods,
            datapoints_to_alarm=policy.periods,
            treat_missing_data="notBreaching",
            metric_queries=queries(policy.reading),
            alarm_actions=[scaling.arn],
            opts=opts,
        )

    @staticmethod
    def _track(name: str, policy: TargetPolicy, target: aws.appautoscaling.Target, opts: ResourceOptions) -> None:
        aws.appautoscaling.Policy(
            name,
            policy_type="TargetTrackingScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            target_tracking_scaling_policy_configuration={
                "target_value": policy.target,
                # Its alarm would wait 15 minutes; the policies of quiet minutes are quicker and look at CPU as well.
                "disable_scale_in": True,
                "scale_out_cooldown": OUT_COOLDOWN,
                "customized_metric_specification": {"metrics": tracked(policy.reading)},
            },
            opts=opts,
        )

    @staticmethod
    def _forecast(name: str, mode: Forecast, target: aws.appautoscaling.Target, opts: ResourceOptions) -> None:
        aws.appautoscaling.Policy(
            name,
            policy_type="PredictiveScaling",
            service_namespace=target.service_namespace,
            scalable_dimension=target.scalable_dimension,
            resource_id=target.resource_id,
            predictive_scaling_policy_configuration={
                "mode": mode,
                "max_capacity_breach_behavior": "HonorMaxCapacity",
                "scheduling_buffer_time": _FORECAST_AHEAD,
                "metric_specifications": [
                    {
                        "target_value": str(_FORECAST_CPU),
                        "predefined_metric_pair_specification": {"predefined_metric_type": "ECSServiceCPUUtilization"},
                    }
                ],
            },
            opts=opts,
        )
