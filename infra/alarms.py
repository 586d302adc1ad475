"""Every alarm of the stack, and one light for each service."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import alarms_platform, alarms_processes, alarms_services
from infra.alarm_spec import OPERATORS, AlarmSpec, full_name
from infra.readings import queries
from infra.settings import ServiceName
from infra.watched import Watched


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """Which alarms, what their names begin with, and the topic that hears of them."""

    specs: Sequence[AlarmSpec]
    prefix: str
    topic_arn: Input[str]


class Alarms(pulumi.ComponentResource):
    """Declares an alarm for each spec, and one alarm for each service that is on while a critical one of it is.

    Names are known beforehand (`alarm_spec.rollback_names`), so that a deployment can name alarms that need the
    service it deploys. The topic is another's.
    """

    arns: Mapping[str, Output[str]]
    """By the name of the spec."""
    service_arns: Mapping[ServiceName, Output[str]]

    def __init__(self, name: str, args: AlarmsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:alarms:Alarms", name, None, opts)
        child = ResourceOptions(parent=self)

        alarms = {spec.name: self._alarm(spec, args, child) for spec in args.specs}
        lights: dict[ServiceName, aws.cloudwatch.CompositeAlarm] = {
            service: self._light(service, [alarms[spec.name] for spec in specs], args, child)
            for service, specs in critical(args.specs).items()
        }

        self.arns = {key: alarm.arn for key, alarm in alarms.items()}
        self.service_arns = {service: light.arn for service, light in lights.items()}
        self.register_outputs({"arns": self.arns})

    @staticmethod
    def _alarm(spec: AlarmSpec, args: AlarmsArgs, opts: ResourceOptions) -> aws.cloudwatch.MetricAlarm:
        name = full_name(args.prefix, spec)
        return aws.cloudwatch.MetricAlarm(
            name,
            name=name,
            alarm_description=spec.description,
            comparison_operator=OPERATORS[spec.comparison],
            threshold=spec.threshold,
            evaluation_periods=spec.periods,
            datapoints_to_alarm=spec.periods,
            treat_missing_data=spec.missing,
            metric_queries=queries(spec.reading),
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            opts=opts,
        )

    @staticmethod
    def _light(
        service: ServiceName, alarms: Sequence[aws.cloudwatch.MetricAlarm], args: AlarmsArgs, opts: ResourceOptions
    ) -> aws.cloudwatch.CompositeAlarm:
        name = f"{args.prefix}-{service}-impaired"
        return aws.cloudwatch.CompositeAlarm(
            name,
            alarm_name=name,
            alarm_description=f"critical: the {service} is impaired, as one or more of its alarms say.",
            alarm_rule=Output.all(*[alarm.name for alarm in alarms]).apply(any_of),
            alarm_actions=[args.topic_arn],
            ok_actions=[args.topic_arn],
            opts=opts,
        )


def specs(watched: Watched) -> tuple[AlarmSpec, ...]:
    """Returns every alarm of the stack."""
    return (
        *alarms_services.specs(watched),
        *alarms_processes.relay_specs(watched.process("relay")),
        *alarms_processes.worker_specs(watched.process("worker")),
        *alarms_processes.web_specs(watched.process("api"), watched.process("console")),
        *alarms_processes.renewer_specs(watched.process("renewer")),
        *alarms_platform.specs(watched),
    )


def critical(given: Sequence[AlarmSpec]) -> Mapping[ServiceName, list[AlarmSpec]]:
    """Returns the critical alarms by service."""
    found: defaultdict[ServiceName, list[AlarmSpec]] = defaultdict(list)
    for spec in given:
        if spec.service is not None and spec.severity == "critical":
            found[spec.service].append(spec)
    return found


def any_of(names: Sequence[str]) -> str:
    """Returns the rule that holds while one of the alarms is on."""
    return " OR ".join(f'ALARM("{name}")' for name in names)
