"""A task that EventBridge Scheduler starts again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, Resource, ResourceOptions

from infra import iam, names
from infra.placement import Placement

# What fails to start is tried again until the next time is near; what fails later says so by its own alarms.
_ATTEMPTS: Final = 10
_ATTEMPT_SECONDS: Final = 3_600


@dataclass(frozen=True, kw_only=True)
class ScheduleArgs:
    """What is started, when, and as whom."""

    description: str
    expression: str
    """As EventBridge Scheduler writes it: rate(...) or cron(...), in UTC."""
    window_minutes: int
    """It starts at any time within so many minutes, so that stacks do not all start at once."""
    placement: Placement
    cluster_arn: Output[str]
    task_definition_arn: Input[str]
    family: str
    role_arns: Sequence[Input[str]]
    """The task's role and its execution role: what the scheduler has to hand to ECS."""
    after: Sequence[Resource] = ()
    """What the first run needs: with a rate, it starts as soon as the schedule is there."""


class Schedule(pulumi.ComponentResource):
    """Declares the schedule and the role that it starts the task by; not the task."""

    arn: Output[str]
    name: Output[str]

    def __init__(self, name: str, args: ScheduleArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:schedule:Schedule", name, None, opts)
        child = ResourceOptions(parent=self)

        role = self._role(name, args, child)
        schedule = aws.scheduler.Schedule(
            names.fit(name, names.SCHEDULE_LIMIT),
            description=args.description,
            schedule_expression=args.expression,
            flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": args.window_minutes},
            target={
                "arn": args.placement.cluster_arn,
                "role_arn": role.arn,
                "ecs_parameters": {
                    "task_definition_arn": args.task_definition_arn,
                    "task_count": 1,
                    "launch_type": "FARGATE",
                    "enable_ecs_managed_tags": True,
                    "propagate_tags": "TASK_DEFINITION",
                    "network_configuration": {
                        "subnets": list(args.placement.subnet_ids),
                        "security_groups": [args.placement.security_group_id],
                        "assign_public_ip": args.placement.public_ip,
                    },
                },
                "retry_policy": {
                    "maximum_retry_attempts": _ATTEMPTS,
                    "maximum_event_age_in_seconds": _ATTEMPT_SECONDS,
                },
            },
            opts=ResourceOptions.merge(child, ResourceOptions(depends_on=list(args.after))),
        )

        self.arn, self.name = schedule.arn, schedule.name
        self.register_outputs({"arn": self.arn, "name": self.name})

    @staticmethod
    def _role(name: str, args: ScheduleArgs, opts: ResourceOptions) -> aws.iam.Role:
        cluster = args.cluster_arn
        groups = iam.beside(cluster, "scheduler", "schedule-group/default")
        # The task that is started has a role of its own, and mostly the schedule's name.
        role_name = f"{name}-schedule"
        role = aws.iam.Role(
            names.fit(role_name, names.ROLE_LIMIT),
            assume_role_policy=iam.trust("scheduler.amazonaws.com", cluster, [groups]),
            opts=opts,
        )
        here = {"ArnEquals": {"ecs:cluster": cluster}}
        tags = {"StringEquals": {"ecs:CreateAction": "RunTask"}}
        hand_over = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        tasks = Output.concat(cluster.apply(lambda arn: arn.replace(":cluster/", ":task/")), "/*")
        aws.iam.RolePolicy(
            role_name,
            role=role.name,
            policy=iam.document(
                iam.allow(["ecs:RunTask"], [iam.beside(cluster, "ecs", f"task-definition/{args.family}:*")], here),
                iam.allow(["ecs:TagResource"], [tasks], tags),
                iam.allow(["iam:PassRole"], args.role_arns, hand_over),
            ),
            opts=opts,
        )
        return role
