"""The ground of the sample: keys, the network, and what is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.settings import Settings

ACCOUNT = "123456789012"
DIGEST = "sha256:" + "0" * 64
ROOMS = {"relay": "relay", "worker": "worker", "api": "web", "console": "web"}
NO_TLS = {"Bool": {"aws:SecureTransport": "false"}}
OWN = {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


class Group(pulumi.ComponentResource):
    def __init__(self, name: str, opts: ResourceOptions) -> None:
        super().__init__(f"smtp-proxy:sample:{name.rpartition('-')[2].capitalize()}", name, None, opts)
        self.child = ResourceOptions(parent=self)


def document(*statements: Mapping[str, Any]) -> Output[str]:
    return Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def deny_plain(action: str, *resources: Input[str]) -> Mapping[str, Any]:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": NO_TLS,
    }


def trust(service: str) -> Output[str]:
    return document(
        {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", "Condition": OWN}
    )


class Ground:
    """What the rest of the sample stands on."""

    key: aws.kms.Key
    vpc: aws.ec2.Vpc
    public: list[aws.ec2.Subnet]
    private: list[aws.ec2.Subnet]
    topic: aws.sns.Topic
    queue: aws.sqs.Queue
    bucket: aws.s3.Bucket
    database: aws.rds.Instance
    cluster: aws.ecs.Cluster

    def __init__(self, settings: Settings, opts: ResourceOptions) -> None:
        self.settings = settings
        self.opts = opts
        self.production = settings.stack == "prod"
        self.groups: dict[str, aws.ec2.SecurityGroup] = {}
        self.targets: dict[str, aws.lb.TargetGroup] = {}

    def _group(self, role: str) -> tuple[str, ResourceOptions]:
        name = f"{self.settings.prefix}-{role}"
        return name, Group(name, self.opts).child

    def _keys(self) -> None:
        name, child = self._group("mail")
        self.key = aws.kms.Key(
            name, deletion_window_in_days=self.settings.key_deletion_days, enable_key_rotation=True, opts=child
        )
        root = self.key.arn.apply(lambda arn: f"arn:aws:iam::{arn.split(':')[4]}:root")
        use = ["kms:Decrypt", "kms:GenerateDataKey*"]
        aws.kms.KeyPolicy(
            name,
            key_id=self.key.key_id,
            policy=document(
                {"Effect": "Allow", "Principal": {"AWS": root}, "Action": ["kms:Describe*", *use], "Resource": "*"},
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "cloudwatch.amazonaws.com"},
                    "Action": use,
                    "Resource": "*",
                    "Condition": OWN,
                },
            ),
            opts=child,
        )

    def _network(self) -> None:
        name, child = self._group("network")
        network = self.settings.network
        self.vpc = aws.ec2.Vpc(name, cidr_block=network.cidr, enable_dns_hostnames=True, opts=child)
        aws.ec2.DefaultSecurityGroup(name, vpc_id=self.vpc.id, opts=child)
        gateway = aws.ec2.InternetGateway(name, vpc_id=self.vpc.id, opts=child)
        self.public = [self._subnet(name, "public", number, child) for number in range(len(network.zones))]
        self.private = [self._subnet(name, "private", number, child) for number in range(len(network.zones))]
        table = aws.ec2.RouteTable(name, vpc_id=self.vpc.id, opts=child)
        aws.ec2.Route(
            name, route_table_id=table.id, destination_cidr_block="0.0.0.0/0", gateway_id=gateway.id, opts=child
        )
        for number in range({"nat-single": 1, "nat-per-zone": len(network.zones)}.get(network.egress, 0)):
            address = aws.ec2.Eip(f"{name}-{number}", domain="vpc", opts=child)
            aws.ec2.NatGateway(
                f"{name}-{number}", allocation_id=address.id, subnet_id=self.public[number].id, opts=child
            )
        if network.egress == "nat-regional":
            aws.ec2.NatGateway(name, availability_mode="regional", vpc_id=self.vpc.id, opts=child)
        self._endpoints(name, table, child)
        if network.flow_logs:
            self._flow_log(name, child)

    def _subnet(self, name: str, kind: str, number: int, opts: ResourceOptions) -> aws.ec2.Subnet:
        third = number + (0 if kind == "public" else 100)
        return aws.ec2.Subnet(
            f"{name}-{kind}-{number}",
            vpc_id=self.vpc.id,
            cidr_block=f"10.40.{third}.0/24",
            availability_zone=f"{self.settings.region}{self.settings.network.zones[number]}",
            opts=opts,
        )

    def _endpoints(self, name: str, table: aws.ec2.RouteTable, opts: ResourceOptions) -> None:
        region = self.settings.region
        aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=self.vpc.id,
            service_name=f"com.amazonaws.{region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id],
            opts=opts,
        )
        for service in self.settings.network.interface_endpoints:
            aws.ec2.VpcEndpoint(
                f"{name}-{service}",
                vpc_id=self.vpc.id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Interface",
                subnet_ids=[subnet.id for subnet in self.private],
                opts=opts,
            )

    def _flow_log(self, name: str, opts: ResourceOptions) -> None:
        group = aws.cloudwatch.LogGroup(f"{name}-flows", retention_in_days=self.settings.watch.log_days, opts=opts)
        role = self._role(f"{name}-flows", "vpc-flow-logs.amazonaws.com", ["logs:PutLogEvents"], [group.arn], opts)
        aws.ec2.FlowLog(
            name,
            vpc_id=self.vpc.id,
            traffic_type="ALL",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            opts=opts,
        )

    def _role(
        self, name: str, service: str, actions: Sequence[str], resources: Sequence[Input[str]], opts: ResourceOptions
    ) -> aws.iam.Role:
        role = aws.iam.Role(name, assume_role_policy=trust(service), opts=opts)
        aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=document({"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}),
            opts=opts,
        )
        return role

    def _firewall(self) -> None:
        name, child = self._group("firewall")
        for role in ("nlb", "alb", *ROOMS, "database", "cache"):
            self.groups[role] = aws.ec2.SecurityGroup(
                f"{name}-{role}", vpc_id=self.vpc.id, description=role, opts=child
            )
        for port in (587, 465):
            self._public("nlb", port, "SMTP", child)
            self._flow("nlb", "relay", port + 2000, "SMTP sessions", child)
        self._flow("nlb", "relay", 8081, "health", child)
        for port in (80, 443):
            self._public("alb", port, "the web", child)
        for role in ("api", "console"):
            self._flow("alb", role, 8080, "requests", child)
        for role in ROOMS:
            self._flow(role, "database", 5432, "PostgreSQL", child)
            self._flow(role, "cache", 6379, "Valkey", child)
            aws.vpc.SecurityGroupEgressRule(
                f"{name}-{role}-https",
                security_group_id=self.groups[role].id,
                cidr_ipv4="0.0.0.0/0",
                ip_protocol="tcp",
                from_port=443,
                to_port=443,
                description="AWS and providers",
                opts=child,
            )

    def _public(self, role: str, port: int, what: str, opts: ResourceOptions) -> None:
        aws.vpc.SecurityGroupIngressRule(
            f"{self.settings.prefix}-{role}-{port}",
            security_group_id=self.groups[role].id,
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=what,
            opts=opts,
        )

    def _flow(self, source: str, target: str, port: int, what: str, opts: ResourceOptions) -> None:
        name = f"{self.settings.prefix}-{source}-{target}-{port}"
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=self.groups[target].id,
            referenced_security_group_id=self.groups[source].id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=what,
            opts=opts,
        )
        aws.vpc.SecurityGroupEgressRule(
            name,
            security_group_id=self.groups[source].id,
            referenced_security_group_id=self.groups[target].id,
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            description=what,
            opts=opts,
        )

    def _queues(self) -> None:
        name, child = self._group("delivery")
        dead = self._queue(f"{name}-dead", child, message_retention_seconds=1_209_600)
        self.queue = self._queue(
            name, child, redrive_policy=Output.json_dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5})
        )
        aws.sqs.RedriveAllowPolicy(
            name,
            queue_url=dead.url,
            redrive_allow_policy=Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [self.queue.arn]}
            ),
            opts=child,
        )

    def _queue(self, name: str, opts: ResourceOptions, **more: Any) -> aws.sqs.Queue:
        queue = aws.sqs.Queue(name, sqs_managed_sse_enabled=True, opts=opts, **more)
        policy = document(deny_plain("sqs:*", queue.arn))
        aws.sqs.QueuePolicy(name, queue_url=queue.url, policy=policy, opts=opts)
        return queue

    def _storage(self) -> None:
        name, child = self._group("bodies")
        self.bucket = aws.s3.Bucket(name, force_destroy=not self.production, opts=child)
        bucket = self.bucket.bucket
        aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketOwnershipControls(
            name, bucket=bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        policy = document(deny_plain("s3:*", self.bucket.arn, Output.concat(self.bucket.arn, "/*")))
        aws.s3.BucketPolicy(name, bucket=bucket, policy=policy, opts=child)
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket,
            rules=[
                {
                    "id": "all",
                    "status": "Enabled",
                    "expiration": {"days": 30},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                }
            ],
            opts=child,
        )
        aws.dynamodb.Table(
            f"{name}-dispatch",
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attributes=[{"name": "id", "type": "S"}],
            point_in_time_recovery={"enabled": True},
            deletion_protection_enabled=self.production,
            opts=child,
        )
        aws.secretsmanager.Secret(f"{name}-tls", recovery_window_in_days=30 if self.production else 0, opts=child)

    def _database(self) -> None:
        name, child = self._group("database")
        settings = self.settings.database
        parameters = aws.rds.ParameterGroup(
            name, family="postgres17", parameters=[{"name": "rds.force_ssl", "value": "1"}], opts=child
        )
        subnets = aws.rds.SubnetGroup(name, subnet_ids=[subnet.id for subnet in self.private], opts=child)
        common: dict[str, Any] = {
            "instance_class": settings.instance_class,
            "storage_encrypted": True,
            "publicly_accessible": False,
            "iam_database_authentication_enabled": True,
            "auto_minor_version_upgrade": True,
            "deletion_protection": self.production,
            "enabled_cloudwatch_logs_exports": ["postgresql"],
            "parameter_group_name": parameters.name,
            "vpc_security_group_ids": [self.groups["database"].id],
        }
        self.database = aws.rds.Instance(
            name,
            engine="postgres",
            engine_version="17",
            allocated_storage=settings.storage_gb,
            max_allocated_storage=settings.max_storage_gb,
            multi_az=settings.multi_zone,
            backup_retention_period=settings.backup_days,
            manage_master_user_password=None if settings.replica else True,
            password_wo=Output.secret("thrown away") if settings.replica else None,
            username="owner",
            skip_final_snapshot=not self.production,
            final_snapshot_identifier=f"{name}-last",
            db_subnet_group_name=subnets.name,
            opts=child,
            **common,
        )
        if settings.replica:
            aws.rds.Instance(f"{name}-replica", replicate_source_db=self.database.arn, opts=child, **common)

    def _cache(self) -> None:
        name, child = self._group("cache")
        if self.settings.cache.mode == "serverless":
            aws.elasticache.ServerlessCache(name, engine="valkey", name=name, opts=child)
            return
        aws.elasticache.ReplicationGroup(
            name,
            description="cache",
            engine="valkey",
            node_type=self.settings.cache.node_type,
            num_node_groups=1,
            replicas_per_node_group=self.settings.cache.replicas,
            at_rest_encryption_enabled=True,
            transit_encryption_enabled=True,
            transit_encryption_mode="required",
            automatic_failover_enabled=True,
            multi_az_enabled=True,
            security_group_ids=[self.groups["cache"].id],
            opts=child,
        )
