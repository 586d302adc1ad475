"""Blue/green deployments of a service behind the HTTP balancer, by CodeDeploy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.placement import Placement
from infra.release import Release, ReleaseArgs
from infra.targets import Route

# "Quotas for CodeDeploy": alarms of one deployment group.
ALARM_LIMIT: Final = 10
CANARY_PERCENT: Final = 10
CANARY_MINUTES: Final = 15
# The old tasks stay so long after all traffic has moved, ready to take it back within seconds.
TERMINATION_MINUTES: Final = 5
# The canary and the wait after it are 20; ECS may take minutes to start tasks, and a balancer to drain them.
LIMIT_MINUTES: Final = 60


@dataclass(frozen=True, kw_only=True)
class BlueGreenArgs:
    """A service, the revision that shall serve, how traffic gets there, and what stops a release.

    Raises:
        ValueError: there are more alarms than CodeDeploy takes, or the route has no test listener.
    """

    region: str
    placement: Placement
    """ECS takes no other place for a service that CodeDeploy owns; each deployment names it."""
    platform: str
    """Version of Fargate, likewise."""
    cluster_name: Input[str]
    service_arn: Input[str]
    service_name: Input[str]
    task_definition_arn: Input[str]
    container: str
    route: Route
    task_role_arns: Sequence[Input[str]]
    """The roles that tasks of the service run in and are started in."""
    alarm_names: Sequence[Input[str]] = ()
    after: Sequence[pulumi.Resource] = ()
    """What a release needs beside that, such as the alarms that it names."""
    canary_percent: int = CANARY_PERCENT
    canary_minutes: int = CANARY_MINUTES
    termination_minutes: int = TERMINATION_MINUTES
    limit_minutes: int = LIMIT_MINUTES

    def __post_init__(self) -> None:
        if len(self.alarm_names) > ALARM_LIMIT:
            raise ValueError(
                f"{len(self.alarm_names)} alarms shall stop a release of {self.container}; CodeDeploy watches up to "
                f"{ALARM_LIMIT}. Join some to a composite alarm"
            )
        if self.route.test_listener_arn is None:
            raise ValueError(f"the route to {self.container} has no test listener; CodeDeploy tries a release there")


class BlueGreen(pulumi.ComponentResource):
    """Declares how a service is released, and the release. It owns neither service nor balancer.

    The service must have the CODE_DEPLOY controller and ignore changes of what CodeDeploy owns: task definition, load
    balancers, network and platform. Another task definition, network or platform is a release. One that fails, or
    during which an alarm goes off, is taken back (ECS-006).
    """

    application: Output[str]
    group: Output[str]
    deployment_id: Output[str]
    """The deployment this run made; empty where none was needed."""

    def __init__(self, name: str, args: BlueGreenArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:deployment:BlueGreen", name, None, opts)
        child = ResourceOptions(parent=self)

        application = aws.codedeploy.Application(name, compute_platform="ECS", opts=child)
        role = aws.iam.Role(
            names.fit(name, names.ROLE_LIMIT),
            assume_role_policy=iam.document(_trust(application.arn)),
            opts=child,
        )
        policy = aws.iam.RolePolicy(name, role=role.name, policy=iam.document(*_permissions(args)), opts=child)
        group = self._group(name, args, application, role.arn, ResourceOptions(parent=self, depends_on=[policy]))
        release = Release(
            name,
            ReleaseArgs(
                region=args.region,
                application=application.name,
                group=group.deployment_group_name,
                cluster_arn=args.placement.cluster_arn,
                service=args.service_name,
                task_definition_arn=args.task_definition_arn,
                container=args.container,
                port=args.route.container_port,
                subnets=list(args.placement.subnet_ids),
                security_group=args.placement.security_group_id,
                public_ip=args.placement.public_ip,
                platform=args.platform,
                limit_minutes=args.limit_minutes,
            ),
            ResourceOptions.merge(child, ResourceOptions(depends_on=list(args.after))),
        )

        self.application, self.group = application.name, group.deployment_group_name
        self.deployment_id = release.deployment_id
        self.register_outputs({"application": self.application, "group": self.group})

    @staticmethod
    def _group(
        name: str,
        args: BlueGreenArgs,
        application: aws.codedeploy.Application,
        role_arn: Output[str],
        opts: ResourceOptions,
    ) -> aws.codedeploy.DeploymentGroup:
        canary = aws.codedeploy.DeploymentConfig(
            name,
            compute_platform="ECS",
            traffic_routing_config={
                "type": "TimeBasedCanary",
                "time_based_canary": {"percentage": args.canary_percent, "interval": args.canary_minutes},
            },
            opts=opts,
        )
        return aws.codedeploy.DeploymentGroup(
            name,
            app_name=application.name,
            deployment_group_name=name,
            service_role_arn=role_arn,
            deployment_config_name=canary.deployment_config_name,
            deployment_style={"deployment_type": "BLUE_GREEN", "deployment_option": "WITH_TRAFFIC_CONTROL"},
            ecs_service={"cluster_name": args.cluster_name, "service_name": args.service_name},
            load_balancer_info={"target_group_pair_info": _pair(args.route)},
            blue_green_deployment_config={
                "deployment_ready_option": {"action_on_timeout": "CONTINUE_DEPLOYMENT"},
                "terminate_blue_instances_on_deployment_success": {
                    "action": "TERMINATE",
                    "termination_wait_time_in_minutes": args.termination_minutes,
                },
            },
            auto_rollback_configuration={
                "enabled": True,
                "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"],
            },
            # Without an answer from CloudWatch nobody knows whether a release is good, so it does not go on.
            alarm_configuration={
                "enabled": bool(args.alarm_names),
                "alarms": list(args.alarm_names),
                "ignore_poll_alarm_failure": False,
            },
            opts=opts,
        )


def _pair(route: Route) -> "aws.codedeploy.DeploymentGroupLoadBalancerInfoTargetGroupPairInfoArgsDict":
    return {
        "prod_traffic_route": {"listener_arns": [route.production_listener_arn]},
        "test_traffic_route": {"listener_arns": [route.test_listener_arn] if route.test_listener_arn else []},
        "target_groups": [{"name": route.blue.name}, {"name": route.green.name}],
    }


def _trust(application_arn: Output[str]) -> Mapping[str, object]:
    # CodeDeploy user guide, "Cross-service confused deputy prevention".
    own = {
        "StringEquals": {"aws:SourceAccount": iam.account(application_arn)},
        "ArnLike": {"aws:SourceArn": application_arn.apply(groups_of)},
    }
    return iam.assumed_by("codedeploy.amazonaws.com", own)


def _permissions(args: BlueGreenArgs) -> list[dict[str, object]]:
    """Returns what AWSCodeDeployRoleForECS allows on everything, for this service only; hooks and S3 are not used."""
    route = args.route
    listeners = [route.production_listener_arn, *([route.test_listener_arn] if route.test_listener_arn else [])]
    task_sets = Output.from_input(args.service_arn).apply(task_sets_of)
    allowed: list[tuple[str, list[str], object]] = [
        ("Service", ["ecs:DescribeServices", "ecs:UpdateServicePrimaryTaskSet"], args.service_arn),
        ("TaskSets", ["ecs:CreateTaskSet", "ecs:DeleteTaskSet"], task_sets),
        ("Traffic", ["elasticloadbalancing:ModifyListener"], listeners),
        ("Rules", ["elasticloadbalancing:ModifyRule"], [arn.apply(rules_of) for arn in listeners]),
        # These have no resource to name (Service Authorization Reference).
        (
            "Look",
            [
                "cloudwatch:DescribeAlarms",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            "*",
        ),
    ]
    statements = [{"Sid": sid, "Effect": "Allow", "Action": act, "Resource": what} for sid, act, what in allowed]
    tasks_only = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    start = {"Sid": "StartTasks", "Effect": "Allow", "Action": ["iam:PassRole"], "Resource": list(args.task_role_arns)}
    return [*statements, {**start, "Condition": tasks_only}]


def groups_of(application_arn: str) -> str:
    """Returns the pattern of all deployment groups of an application of CodeDeploy."""
    return application_arn.replace(":application:", ":deploymentgroup:") + "/*"


def task_sets_of(service_arn: str) -> str:
    """Returns the pattern of all task sets of a service."""
    return service_arn.replace(":service/", ":task-set/") + "/*"


def rules_of(listener_arn: str) -> str:
    """Returns the pattern of all rules of a listener."""
    return listener_arn.replace(":listener/", ":listener-rule/") + "/*"
