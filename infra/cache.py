"""Valkey on ElastiCache: a cluster of one shard, or serverless."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import names
from infra.settings import CacheSettings

ENGINE = "valkey"
MAJOR = "8"
VERSION = "8.2"
PORT = 6379
MAINTENANCE_WINDOW = "sun:05:30-sun:06:30"
# Far above what the services keep and ask for; what a fault of ours may cost at most. AWS's least is 1000 ECPU.
SERVERLESS_GB = 1
SERVERLESS_ECPU_PER_SECOND = 5_000


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """Where the cache lives, what encrypts it, and who may sign in."""

    settings: CacheSettings
    subnet_ids: Sequence[Input[str]]
    security_group_ids: Sequence[Input[str]]
    users: Mapping[str, str]
    """Access string by service, as `cache_users.access_strings` makes them."""
    protect: bool
    """Changes wait for the maintenance window."""
    log_days: int
    key_arn: Input[str] | None = None
    """Encrypts what lies on disk; ElastiCache keeps a grant of it. Without it, it uses a key of its own."""
    log_key_arn: Input[str] | None = None


class Cache(pulumi.ComponentResource):
    """Declares the cache, its users, and the log of slow commands.

    Users sign in with IAM tokens over TLS; who may have a token is said by IAM roles (`elasticache:Connect`). There is
    no user named `default`: a group of Valkey users holds only such that sign in (AWS: "Role-Based Access Control
    (RBAC)"). No snapshots are taken, since nothing in the cache is true only there.
    """

    address: Output[str]
    name: Output[str]
    """As IAM tokens name it."""
    is_cluster: bool
    """Whether clients speak the cluster's protocol; they do with both modes."""
    arn: Output[str]
    user_arns: Mapping[str, Output[str]]
    user_names: Mapping[str, str]

    def __init__(self, name: str, args: CacheArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:cache:Cache", name, None, opts)
        child = ResourceOptions(parent=self)
        users = {service: self._user(name, service, access, child) for service, access in args.users.items()}
        group = aws.elasticache.UserGroup(
            name,
            user_group_id=names.exact(name, names.CACHE_LIMIT),
            engine=ENGINE,
            user_ids=[user.user_id for user in users.values()],
            opts=child,
        )
        self.is_cluster = True
        self.user_arns = {service: user.arn for service, user in users.items()}
        self.user_names = {service: _user_name(name, service) for service in users}
        if args.settings.mode == "cluster":
            cluster = self._cluster(name, args, group, child)
            self.address, self.arn = cluster.configuration_endpoint_address, cluster.arn
            self.name = cluster.replication_group_id
        else:
            serverless = self._serverless(name, args, group, child)
            self.address = serverless.endpoints.apply(lambda found: found[0].address)
            self.arn, self.name = serverless.arn, serverless.name
        self.register_outputs({key: getattr(self, key) for key in Cache.__annotations__})

    @staticmethod
    def _user(name: str, service: str, access: str, opts: ResourceOptions) -> aws.elasticache.User:
        # With IAM a user's id and name have to be the same, and the service's settings name it.
        user = _user_name(name, service)
        return aws.elasticache.User(
            f"{name}-{service}",
            user_id=user,
            user_name=user,
            engine=ENGINE,
            access_string=access,
            authentication_mode={"type": "iam"},
            opts=opts,
        )

    @staticmethod
    def _cluster(
        name: str, args: CacheArgs, group: aws.elasticache.UserGroup, opts: ResourceOptions
    ) -> aws.elasticache.ReplicationGroup:
        subnets = aws.elasticache.SubnetGroup(name, subnet_ids=args.subnet_ids, opts=opts)
        parameters = aws.elasticache.ParameterGroup(
            name,
            family=f"{ENGINE}{MAJOR}",
            description="Cluster mode",
            parameters=[{"name": "cluster-enabled", "value": "yes"}],
            opts=opts,
        )
        slow = aws.cloudwatch.LogGroup(name, retention_in_days=args.log_days, kms_key_id=args.log_key_arn, opts=opts)
        return aws.elasticache.ReplicationGroup(
            names.fit(name, names.CACHE_LIMIT),
            description="Quotas, budgets, circuit breakers and change notices",
            engine=ENGINE,
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            node_type=args.settings.node_type,
            cluster_mode="enabled",
            num_node_groups=1,
            replicas_per_node_group=args.settings.replicas,
            multi_az_enabled=True,
            automatic_failover_enabled=True,
            port=PORT,
            parameter_group_name=parameters.name,
            subnet_group_name=subnets.name,
            security_group_ids=args.security_group_ids,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            at_rest_encryption_enabled=True,
            kms_key_id=args.key_arn,
            user_group_ids=[group.user_group_id],
            snapshot_retention_limit=0,
            maintenance_window=MAINTENANCE_WINDOW,
            apply_immediately=not args.protect,
            log_delivery_configurations=[
                {
                    "destination": slow.name,
                    "destination_type": "cloudwatch-logs",
                    "log_format": "json",
                    "log_type": "slow-log",
                }
            ],
            opts=opts,
        )

    @staticmethod
    def _serverless(
        name: str, args: CacheArgs, group: aws.elasticache.UserGroup, opts: ResourceOptions
    ) -> aws.elasticache.ServerlessCache:
        # TLS and several zones are not a choice here: serverless caches have both.
        return aws.elasticache.ServerlessCache(
            names.fit(name, names.CACHE_LIMIT),
            description="Quotas, budgets, circuit breakers and change notices",
            engine=ENGINE,
            major_engine_version=MAJOR,
            cache_usage_limits={
                "data_storage": {"maximum": SERVERLESS_GB, "unit": "GB"},
                "ecpu_per_seconds": [{"maximum": SERVERLESS_ECPU_PER_SECOND}],
            },
            subnet_ids=args.subnet_ids,
            security_group_ids=args.security_group_ids,
            kms_key_id=args.key_arn,
            user_group_id=group.user_group_id,
            snapshot_retention_limit=0,
            opts=opts,
        )


def _user_name(name: str, service: str) -> str:
    return names.exact(f"{name}-{service}", names.CACHE_USER_LIMIT)
