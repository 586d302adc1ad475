"""What everything stands on: keys, the network, names, the bucket of access logs, and the topic of alarms."""

from dataclasses import dataclass

from pulumi import Output, ResourceOptions

from infra import iam, storage, topic
from infra.dns import Zone, ZoneArgs
from infra.endpoints import Endpoints, EndpointsArgs
from infra.firewall import Firewall, FirewallArgs
from infra.flows import flows
from infra.iam import Statement
from infra.keys import Key, KeyArgs, for_logs, for_publishers, via
from infra.network import Network, NetworkArgs
from infra.settings import Settings
from infra.storage import Bucket, BucketArgs
from infra.topic import Topic, TopicArgs

# What the data key works through, and what keeps using it on its own.
_DATA_SERVICES = ("rds", "elasticache", "dynamodb", "sqs", "s3")
_DATA_GRANTS = ("rds", "elasticache", "dynamodb")


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The lowest layer."""

    secrets_key: Key
    data_key: Key
    watch_key: Key
    network: Network
    firewall: Firewall
    zone: Zone
    access_logs: Bucket
    topic: Topic


def lay(settings: Settings, opts: ResourceOptions) -> Ground:
    """Declares the layer."""
    prefix, watch_key = settings.prefix, _watch_key(settings, opts)
    network = Network(
        f"{prefix}-network",
        NetworkArgs(
            region=settings.region,
            settings=settings.network,
            log_days=settings.watch.log_days,
            log_key_arn=watch_key.arn,
        ),
        opts,
    )
    firewall = Firewall(prefix, FirewallArgs(vpc_id=network.vpc_id, flows=flows(settings)), opts)
    if settings.network.interface_endpoints:
        _endpoints(settings, network, firewall, opts)
    data_key = _data_key(settings, opts)
    return Ground(
        secrets_key=_secrets_key(settings, opts),
        data_key=data_key,
        watch_key=watch_key,
        network=network,
        firewall=firewall,
        zone=Zone(f"{prefix}-zone", ZoneArgs(zone=settings.names.zone, zone_id=settings.names.zone_id), opts),
        access_logs=_access_logs(settings, data_key.arn, opts),
        topic=Topic(_topic_name(settings), TopicArgs(emails=settings.watch.emails, key_arn=watch_key.arn), opts),
    )


def _access_logs(settings: Settings, anchor: Output[str], opts: ResourceOptions) -> Bucket:
    # Load balancers and S3 write to buckets that S3's own key encrypts, and to no others.
    def writes(bucket_arn: Output[str]) -> Statement:
        return {
            "Sid": "AccessLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": ["s3:PutObject"],
            # Of balancers of this account only: AWS puts the logs of others elsewhere, and sends no condition key.
            "Resource": Output.concat(bucket_arn, "/AWSLogs/", iam.account(anchor), "/*"),
        }

    args = BucketArgs(
        expiry_days=settings.watch.log_days,
        force_destroy=not settings.protect,
        statements=[writes, storage.request_logs(iam.account(anchor), f"{settings.prefix}-*")],
    )
    return Bucket(f"{settings.prefix}-access", args, opts)


def _endpoints(settings: Settings, network: Network, firewall: Firewall, opts: ResourceOptions) -> None:
    Endpoints(
        f"{settings.prefix}-endpoints",
        EndpointsArgs(
            region=settings.region,
            services=settings.network.interface_endpoints,
            vpc_id=network.vpc_id,
            subnet_ids=network.private_subnet_ids,
            security_group_id=firewall.group_ids["endpoints"],
        ),
        opts,
    )


def _topic_name(settings: Settings) -> str:
    return f"{settings.prefix}-alarms"


def _secrets_key(settings: Settings, opts: ResourceOptions) -> Key:
    # Services use it themselves: it seals the secrets of providers in rows of the database.
    args = KeyArgs(
        description="Secrets",
        deletion_days=settings.key_deletion_days,
        # RDS keeps the master password under it (AWS: "Permissions required for Secrets Manager integration").
        granting=via(settings.region, "rds", "secretsmanager"),
    )
    return Key(f"{settings.prefix}-secrets", args, opts)


def _data_key(settings: Settings, opts: ResourceOptions) -> Key:
    # Bound to services: holding the key is of no use without permission on what it seals.
    args = KeyArgs(
        description="Database, cache, tables, and mail on queues and in buckets",
        deletion_days=settings.key_deletion_days,
        services=via(settings.region, *_DATA_SERVICES),
        granting=via(settings.region, *_DATA_GRANTS),
        statements=[for_publishers("events.amazonaws.com", "s3.amazonaws.com")],
    )
    return Key(f"{settings.prefix}-data", args, opts)


def _watch_key(settings: Settings, opts: ResourceOptions) -> Key:
    # Bound to no service: shells in tasks are sealed by the tasks themselves.
    args = KeyArgs(
        description="Logs and alarms",
        deletion_days=settings.key_deletion_days,
        statements=[for_logs(settings.region, "*"), topic.key_statement(_topic_name(settings))],
    )
    return Key(f"{settings.prefix}-watch", args, opts)
