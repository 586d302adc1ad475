"""Where ECS keeps the stack's tasks together."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.task import log_group_name


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What is recorded of tasks, and of shells in them."""

    insights: bool
    """CloudWatch counts the running tasks of each service, at a price."""
    exec: bool
    """Shells are allowed; all that is typed and shown in them is then kept in a log group."""
    log_days: int
    key_arn: Input[str] | None = None
    """Encrypts those shells, and what is kept of them."""


class Cluster(pulumi.ComponentResource):
    """Declares the cluster, on Fargate only (ECS-011); no service and no task."""

    arn: Output[str]
    name: Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:cluster:Cluster", name, None, opts)
        child = ResourceOptions(parent=self)

        cluster = aws.ecs.Cluster(
            name,
            settings=[{"name": "containerInsights", "value": "enabled" if args.insights else "disabled"}],
            configuration=self._shells(name, args, child) if args.exec else None,
            opts=child,
        )
        aws.ecs.ClusterCapacityProviders(
            name,
            cluster_name=cluster.name,
            capacity_providers=["FARGATE", "FARGATE_SPOT"],
            default_capacity_provider_strategies=[{"capacity_provider": "FARGATE", "base": 1, "weight": 1}],
            opts=child,
        )

        self.arn, self.name = cluster.arn, cluster.name
        self.register_outputs({"arn": self.arn, "name": self.name})

    @staticmethod
    def _shells(name: str, args: ClusterArgs, opts: ResourceOptions) -> aws.ecs.ClusterConfigurationArgsDict:
        logs = aws.cloudwatch.LogGroup(
            f"{name}-exec",
            name=log_group_name(f"{name}-exec"),
            retention_in_days=args.log_days,
            kms_key_id=args.key_arn,
            opts=opts,
        )
        return {
            "execute_command_configuration": {
                "kms_key_id": args.key_arn,
                "logging": "OVERRIDE",
                "log_configuration": {
                    "cloud_watch_log_group_name": logs.name,
                    "cloud_watch_encryption_enabled": args.key_arn is not None,
                },
            }
        }
