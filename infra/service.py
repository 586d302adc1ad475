"""Some tasks of one kind that ECS keeps running."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import CustomTimeouts, Input, Output, Resource, ResourceOptions

from infra import rollout
from infra.placement import Placement
from infra.rollout import CodeDeploy, NativeCanary, Rolling, Rollout
from infra.task import CONTAINER, Task, TaskArgs

PLATFORM: Final = "LATEST"
"""What AWS patches. It has been 1.4.0 for years, and ECS finds out anew with every deployment only."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Where a native canary puts the new revision, and what it turns to get there.

    The production listener has to name both target groups, or the test listener the other one.
    """

    alternate_target_group_arn: Input[str]
    production_listener_arn: Input[str]
    """Of the listener on an NLB, of a rule of it on an ALB."""
    role_arn: Input[str]
    """By which ECS changes listeners."""
    test_listener_arn: Input[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A port of the tasks behind a load balancer."""

    target_group_arn: Input[str]
    port: int
    shift: Shift | None = None


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """What runs, where, how many, and how it is replaced."""

    task: TaskArgs
    placement: Placement
    tasks: int
    rollout: Rollout
    attachments: Sequence[Attachment] = ()
    scaled: bool = True
    """Auto scaling sets the number of tasks once the service is there."""
    spot: bool = False
    """Tasks above the first run on spare capacity, which may be taken back at two minutes' notice."""
    grace_seconds: int = 60
    """How long a load balancer may find a new task unhealthy."""
    registry_arn: Input[str] | None = None
    """Of a service in Cloud Map that knows the tasks by name."""
    after: Sequence[Resource] = ()
    """What has to be there first: listeners, and the schema."""


class Service(pulumi.ComponentResource):
    """Declares the service and its task; neither the load balancer before it, nor its scaling, nor its roles."""

    name: Output[str]
    arn: Output[str]
    task_definition_arn: Output[str]
    family: Output[str]
    log_group_name: Output[str]
    container_name: str
    placement: Placement

    def __init__(self, name: str, args: ServiceArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:service:Service", name, None, opts)

        task = Task(name, args.task, ResourceOptions(parent=self))
        service = self._service(name, args, task)

        self.name, self.arn, self.placement = service.name, service.arn, args.placement
        self.task_definition_arn, self.family = task.task_definition_arn, task.family
        self.log_group_name, self.container_name = task.log_group_name, task.container_name
        self.register_outputs(
            {
                "name": self.name,
                "arn": self.arn,
                "task_definition_arn": self.task_definition_arn,
                "family": self.family,
                "log_group_name": self.log_group_name,
                "container_name": self.container_name,
            }
        )

    def _service(self, name: str, args: ServiceArgs, task: Task) -> aws.ecs.Service:
        way = args.rollout
        by_ecs, rolling = not isinstance(way, CodeDeploy), way if isinstance(way, Rolling) else None
        time = rollout.timeout(way)
        return aws.ecs.Service(
            name,
            cluster=args.placement.cluster_arn,
            task_definition=task.task_definition_arn,
            desired_count=args.tasks,
            platform_version=PLATFORM,
            launch_type=None if args.spot else "FARGATE",
            capacity_provider_strategies=_SPOT if args.spot else None,
            network_configuration={
                "subnets": list(args.placement.subnet_ids),
                "security_groups": [args.placement.security_group_id],
                "assign_public_ip": args.placement.public_ip,
            },
            load_balancers=[_attached(attachment) for attachment in args.attachments] or None,
            health_check_grace_period_seconds=args.grace_seconds if args.attachments else None,
            service_registries={"registry_arn": args.registry_arn} if args.registry_arn else None,
            deployment_controller={"type": "ECS" if by_ecs else "CODE_DEPLOY"},
            deployment_configuration=_configuration(way),
            deployment_circuit_breaker={"enable": True, "rollback": True} if rolling else None,
            deployment_minimum_healthy_percent=rolling.minimum_percent if rolling else None,
            deployment_maximum_percent=rolling.maximum_percent if rolling else None,
            alarms=_alarms(rollout.alarms(way)),
            # A task that is moved to another zone ends its SMTP sessions.
            availability_zone_rebalancing="DISABLED" if isinstance(way, NativeCanary) else None,
            # Without it ECS refuses to change a strategy of capacity.
            force_new_deployment=True if args.spot else None,
            enable_execute_command=args.task.exec,
            enable_ecs_managed_tags=True,
            propagate_tags="SERVICE",
            # With CodeDeploy there is nothing to wait for: the new revision comes by a deployment of its own.
            wait_for_steady_state=by_ecs,
            sigint_rollback=True if by_ecs else None,
            opts=ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                ignore_changes=rollout.ignored(way, scaled=args.scaled),
                custom_timeouts=CustomTimeouts(create=time, update=time, delete=rollout.ROLLING_TIMEOUT),
            ),
        )


_SPOT: Final[list[aws.ecs.ServiceCapacityProviderStrategyArgsDict]] = [
    {"capacity_provider": "FARGATE", "base": 1, "weight": 1},
    {"capacity_provider": "FARGATE_SPOT", "weight": 3},
]


def _configuration(way: Rollout) -> aws.ecs.ServiceDeploymentConfigurationArgsDict | None:
    match way:
        case NativeCanary():
            return {
                "strategy": "CANARY",
                "bake_time_in_minutes": str(way.bake_minutes),
                "canary_configuration": {
                    "canary_percent": way.percent,
                    "canary_bake_time_in_minutes": str(way.canary_bake_minutes),
                },
            }
        case Rolling():
            return {"strategy": "ROLLING"}
        case CodeDeploy():
            return None


def _alarms(names: Sequence[Input[str]]) -> aws.ecs.ServiceAlarmsArgsDict | None:
    return {"alarm_names": list(names), "enable": True, "rollback": True} if names else None


def _attached(attachment: Attachment) -> aws.ecs.ServiceLoadBalancerArgsDict:
    made: aws.ecs.ServiceLoadBalancerArgsDict = {
        "target_group_arn": attachment.target_group_arn,
        "container_name": CONTAINER,
        "container_port": attachment.port,
    }
    shift = attachment.shift
    if shift is None:
        return made
    turned: aws.ecs.ServiceLoadBalancerAdvancedConfigurationArgsDict = {
        "alternate_target_group_arn": shift.alternate_target_group_arn,
        "production_listener_rule": shift.production_listener_arn,
        "role_arn": shift.role_arn,
    }
    if shift.test_listener_arn is not None:
        turned["test_listener_rule"] = shift.test_listener_arn
    return {**made, "advanced_configuration": turned}
