"""A task that ECS can run: once, on a schedule, or as one of many of a service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.container import MAX_STOP_SECONDS, TMP_VOLUME, Container, Health, definition
from infra.settings import Architecture

_CPU: Final[Mapping[Architecture, str]] = {"arm64": "ARM64", "x86_64": "X86_64"}
CONTAINER: Final = "main"
"""The name of the container in each task."""


def log_group_name(name: str) -> str:
    """Returns the name of a task's log group, which roles, operators and dashboards know without asking."""
    return f"/ecs/{name}"


@dataclass(frozen=True, kw_only=True)
class TaskArgs:
    """What runs, how large it is, and as whom."""

    image: Input[str]
    command: Sequence[str]
    environment: Mapping[str, Input[str]]
    cpu: int
    """Units of a 1024th vCPU."""
    memory: int
    """MiB."""
    architecture: Architecture
    task_role_arn: Input[str]
    execution_role_arn: Input[str]
    region: str
    log_days: int
    log_key_arn: Input[str] | None = None
    """Its policy has to let CloudWatch Logs use it."""
    ports: Sequence[int] = ()
    health: Health | None = None
    stop_seconds: int = MAX_STOP_SECONDS
    exec: bool = False


class Task(pulumi.ComponentResource):
    """Declares the task definition and its log group; neither the roles nor anything that runs it."""

    task_definition_arn: Output[str]
    family: Output[str]
    log_group_name: Output[str]
    log_group_arn: Output[str]
    container_name: str

    def __init__(self, name: str, args: TaskArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:task:Task", name, None, opts)
        child = ResourceOptions(parent=self)

        logs = aws.cloudwatch.LogGroup(
            name,
            name=log_group_name(name),
            retention_in_days=args.log_days,
            kms_key_id=args.log_key_arn,
            opts=child,
        )
        task = aws.ecs.TaskDefinition(
            name,
            family=name,
            cpu=str(args.cpu),
            memory=str(args.memory),
            network_mode="awsvpc",
            requires_compatibilities=["FARGATE"],
            runtime_platform={"cpu_architecture": _CPU[args.architecture], "operating_system_family": "LINUX"},
            task_role_arn=args.task_role_arn,
            execution_role_arn=args.execution_role_arn,
            container_definitions=Output.json_dumps([definition(_container(args, logs.name))]),
            # Of the task's own storage, which ends with it.
            volumes=[{"name": TMP_VOLUME}],
            # A rollback starts tasks of the revision before, so that has to stay.
            skip_destroy=True,
            opts=child,
        )

        self.task_definition_arn, self.family = task.arn, task.family
        self.log_group_name, self.log_group_arn, self.container_name = logs.name, logs.arn, CONTAINER
        self.register_outputs(
            {
                "task_definition_arn": self.task_definition_arn,
                "family": self.family,
                "log_group_name": self.log_group_name,
                "log_group_arn": self.log_group_arn,
                "container_name": self.container_name,
            }
        )


def _container(args: TaskArgs, log_group: Input[str]) -> Container:
    return Container(
        name=CONTAINER,
        image=args.image,
        command=args.command,
        environment=args.environment,
        log_group=log_group,
        region=args.region,
        ports=args.ports,
        health=args.health,
        stop_seconds=args.stop_seconds,
        exec=args.exec,
    )
