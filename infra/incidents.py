"""What has no metric: releases that are taken back, and renewals that fail. EventBridge tells of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import names, runbooks
from infra.alarm_spec import Runbook

# Of the renewer: done, and not now (another run, or the authority asks for patience, which has an alarm of its own).
_NO_FAILURES: Final = [0, 75]


@dataclass(frozen=True, kw_only=True)
class IncidentsArgs:
    """Where releases and renewals happen, and the topic that hears of trouble with them."""

    cluster_name: Input[str]
    cluster_arn: Input[str]
    codedeploy_applications: Sequence[Input[str]]
    renewer_family: Input[str] | None
    """Family of the renewer's task definition."""
    topic_arn: Input[str]


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A kind of event, and what to do about it."""

    name: str
    runbook: Runbook
    pattern: Mapping[str, object]


class Incidents(pulumi.ComponentResource):
    """Declares event rules that tell the topic. The topic and its policy are another's."""

    def __init__(self, name: str, args: IncidentsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:incidents:Incidents", name, None, opts)
        child = ResourceOptions(parent=self)

        for incident in incidents(args):
            rule = aws.cloudwatch.EventRule(
                names.fit(f"{name}-{incident.name}", names.EVENT_RULE_LIMIT),
                description=incident.runbook.why,
                event_pattern=Output.json_dumps(incident.pattern),
                opts=child,
            )
            aws.cloudwatch.EventTarget(
                f"{name}-{incident.name}",
                rule=rule.name,
                arn=args.topic_arn,
                input_transformer={
                    "input_paths": {"what": "$.detail-type", "resource": "$.resources[0]", "at": "$.time"},
                    "input_template": f'"{name} {incident.name} at <at>: <what> of <resource>. '
                    f'{incident.runbook.why} Runbook: {incident.runbook.link}"',
                },
                opts=child,
            )
        self.register_outputs({})


def incidents(args: IncidentsArgs) -> Iterator[Incident]:
    """Yields the kinds of events that people are told of."""
    yield Incident(
        name="release-failed",
        runbook=runbooks.DEPLOYMENT_FAILED,
        pattern={
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [{"wildcard": Output.concat("arn:*:ecs:*:*:service/", args.cluster_name, "/*")}],
            "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
        },
    )
    if args.codedeploy_applications:
        yield Incident(
            name="blue-green-failed",
            runbook=runbooks.DEPLOYMENT_FAILED,
            pattern={
                "source": ["aws.codedeploy"],
                "detail-type": ["CodeDeploy Deployment State-change Notification"],
                "detail": {"application": list(args.codedeploy_applications), "state": ["FAILURE", "STOP"]},
            },
        )
    if args.renewer_family is not None:
        yield Incident(
            name="renewal-failed",
            runbook=runbooks.RENEWAL_FAILED,
            pattern={
                "source": ["aws.ecs"],
                "detail-type": ["ECS Task State Change"],
                "detail": {
                    "clusterArn": [args.cluster_arn],
                    "group": [Output.concat("family:", args.renewer_family)],
                    "lastStatus": ["STOPPED"],
                    "$or": [
                        {"containers": {"exitCode": [{"anything-but": _NO_FAILURES}]}},
                        {"stopCode": ["TaskFailedToStart"]},
                    ],
                },
            },
        )
