"""Who tasks are in AWS: what starts them, and what they are themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.task import log_group_name

_TASKS = "ecs-tasks.amazonaws.com"
_PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


@dataclass(frozen=True, kw_only=True)
class ExecutionRoleArgs:
    """What is pulled, and where it logs."""

    cluster_arn: Output[str]
    repository_arns: Sequence[Input[str]]
    tasks: Sequence[str]
    """Names of the tasks; each has a log group of its name."""


class ExecutionRole(pulumi.ComponentResource):
    """Declares the role by which ECS starts tasks: it pulls images, writes logs, and reads no secret (ECS-010)."""

    arn: Output[str]

    def __init__(self, name: str, args: ExecutionRoleArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:roles:ExecutionRole", name, None, opts)
        streams = [
            iam.beside(args.cluster_arn, "logs", f"log-group:{log_group_name(task)}:*") for task in sorted(args.tasks)
        ]
        pull = [iam.allow(_PULL, args.repository_arns), iam.allow(["ecr:GetAuthorizationToken"], ["*"])]
        role = _role(
            name,
            args.cluster_arn,
            [
                *(pull if args.repository_arns else []),
                iam.allow(["logs:CreateLogStream", "logs:PutLogEvents"], streams),
            ],
            ResourceOptions(parent=self),
        )

        self.arn = role.arn
        self.register_outputs({"arn": self.arn})


@dataclass(frozen=True, kw_only=True)
class TaskRoleArgs:
    """What a task may do; see `grants`."""

    cluster_arn: Output[str]
    statements: Sequence[Mapping[str, object]]


class TaskRole(pulumi.ComponentResource):
    """Declares the role that a task has in AWS; what it may do is decided in `grants`."""

    arn: Output[str]
    name: Output[str]

    def __init__(self, name: str, args: TaskRoleArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:roles:TaskRole", name, None, opts)
        role = _role(name, args.cluster_arn, args.statements, ResourceOptions(parent=self))

        self.arn, self.name = role.arn, role.name
        self.register_outputs({"arn": self.arn, "name": self.name})


def _role(
    name: str, cluster_arn: Output[str], statements: Sequence[Mapping[str, object]], opts: ResourceOptions
) -> aws.iam.Role:
    tasks = iam.beside(cluster_arn, "ecs", "*")
    role = aws.iam.Role(
        names.fit(name, names.ROLE_LIMIT), assume_role_policy=iam.trust(_TASKS, cluster_arn, [tasks]), opts=opts
    )
    if statements:
        aws.iam.RolePolicy(name, role=role.name, policy=iam.document(*statements), opts=opts)
    return role
