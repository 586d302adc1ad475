"""PostgreSQL on RDS."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import names
from infra.secrets import Secret, SecretArgs
from infra.settings import DatabaseSettings

NAME = "smtp_proxy"
MASTER = "postgres_admin"
PORT = 5432
# The newest of a major version: AWS withdraws minor ones.
VERSION = "17"
AUTHORITY = "rds-ca-rsa2048-g1"
INSIGHTS_DAYS = 7
# Half an hour and an hour, in UTC, that do not overlap.
BACKUP_WINDOW = "03:00-03:30"
MAINTENANCE_WINDOW = "sun:04:00-sun:05:00"


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """Where the database lives, what encrypts it, and how long its logs stay."""

    settings: DatabaseSettings
    subnet_ids: Sequence[Input[str]]
    security_group_ids: Sequence[Input[str]]
    key_arn: Input[str]
    """Encrypts storage, backups and insights; RDS keeps a grant of it (`KeyArgs.granting`)."""
    secret_key_arn: Input[str]
    """Encrypts the master user's password in Secrets Manager."""
    secret_path: str
    """Name of the master user's secret where RDS does not make it, such as smtp-proxy/prod/database-master."""
    secret_recovery_days: int
    protect: bool
    """AWS refuses to delete it, a last snapshot is taken, and changes wait for the maintenance window."""
    log_days: int
    log_key_arn: Input[str] | None = None


class Database(pulumi.ComponentResource):
    """Declares the instance, its parameters, subnets and log group, and a read replica where the settings want one.

    It declares no roles, tables or grants: `python -m backing prepare` makes them, signed in as the master user. The
    services sign in with IAM tokens.

    Without a replica RDS makes the master password, keeps it in Secrets Manager and changes it every week. RDS does not
    allow that together with a replica (AWS: "Password management with Amazon RDS and AWS Secrets Manager"). Then the
    instance begins with a password that nobody keeps; it is the one secret value that the program hands over, so the
    stack's state holds it, encrypted (write-only properties do not prevent that, pulumi-terraform-bridge issue 3201).
    `prepare` replaces it by one that only Secrets Manager holds before the database has any content.
    """

    address: Output[str]
    port: Output[int]
    identifier: Output[str]
    arn: Output[str]
    resource_id: Output[str]
    master_secret_arn: Output[str]
    replica_address: Output[str] | None
    replica_resource_id: Output[str] | None

    def __init__(self, name: str, args: DatabaseArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:database:Database", name, None, opts)
        child = ResourceOptions(parent=self)
        parameters = self._parameters(name, args.settings, child)
        primary = self._primary(name, args, parameters, child)

        self.replica_address = self.replica_resource_id = None
        if args.settings.replica:
            secret = self._secret(name, args, child)
            self.master_secret_arn = secret.arn
            replica = self._replica(name, args, parameters, primary, child)
            self.replica_address, self.replica_resource_id = replica.address, replica.resource_id
        else:
            self.master_secret_arn = primary.master_user_secrets.apply(lambda made: made[0].secret_arn or "")
        self.address, self.port, self.identifier = primary.address, primary.port, primary.identifier
        self.arn, self.resource_id = primary.arn, primary.resource_id
        self.register_outputs({key: getattr(self, key) for key in Database.__annotations__})

    @staticmethod
    def _parameters(name: str, settings: DatabaseSettings, opts: ResourceOptions) -> aws.rds.ParameterGroup:
        return aws.rds.ParameterGroup(
            name,
            family=f"postgres{VERSION}",
            description="TLS only, slow statements logged",
            parameters=[
                # The number of connections is fixed when PostgreSQL starts.
                {
                    "name": "max_connections",
                    "value": str(settings.max_connections),
                    "apply_method": "pending-reboot",
                },
                {"name": "rds.force_ssl", "value": "1", "apply_method": "immediate"},
                {"name": "log_min_duration_statement", "value": "500", "apply_method": "immediate"},
                {"name": "idle_in_transaction_session_timeout", "value": "30000", "apply_method": "immediate"},
            ],
            opts=opts,
        )

    @staticmethod
    def _primary(
        name: str, args: DatabaseArgs, parameters: aws.rds.ParameterGroup, opts: ResourceOptions
    ) -> aws.rds.Instance:
        settings, identifier = args.settings, _identifier(name)
        subnets = aws.rds.SubnetGroup(name, subnet_ids=args.subnet_ids, opts=opts)
        throw_away = Output.secret(secrets.token_urlsafe(32)) if settings.replica else None
        return aws.rds.Instance(
            name,
            identifier=identifier,
            engine="postgres",
            engine_version=VERSION,
            auto_minor_version_upgrade=True,
            instance_class=settings.instance_class,
            allocated_storage=settings.storage_gb,
            max_allocated_storage=settings.max_storage_gb,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            multi_az=settings.multi_zone,
            db_name=NAME,
            port=PORT,
            username=MASTER,
            manage_master_user_password=None if settings.replica else True,
            master_user_secret_kms_key_id=None if settings.replica else args.secret_key_arn,
            password_wo=throw_away,
            password_wo_version=1 if settings.replica else None,
            iam_database_authentication_enabled=True,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=args.security_group_ids,
            publicly_accessible=False,
            ca_cert_identifier=AUTHORITY,
            parameter_group_name=parameters.name,
            backup_retention_period=settings.backup_days,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=not args.protect,
            deletion_protection=args.protect,
            skip_final_snapshot=not args.protect,
            final_snapshot_identifier=f"{identifier}-final" if args.protect else None,
            apply_immediately=not args.protect,
            performance_insights_enabled=True,
            performance_insights_retention_period=INSIGHTS_DAYS,
            performance_insights_kms_key_id=args.key_arn,
            enabled_cloudwatch_logs_exports=["postgresql"],
            opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=[_logs(name, identifier, args, opts)])),
        )

    @staticmethod
    def _replica(
        name: str,
        args: DatabaseArgs,
        parameters: aws.rds.ParameterGroup,
        primary: aws.rds.Instance,
        opts: ResourceOptions,
    ) -> aws.rds.Instance:
        identifier = _identifier(f"{name}-replica")
        return aws.rds.Instance(
            f"{name}-replica",
            identifier=identifier,
            replicate_source_db=primary.identifier,
            auto_minor_version_upgrade=True,
            instance_class=args.settings.instance_class,
            max_allocated_storage=args.settings.max_storage_gb,
            storage_type="gp3",
            storage_encrypted=True,
            kms_key_id=args.key_arn,
            iam_database_authentication_enabled=True,
            vpc_security_group_ids=args.security_group_ids,
            publicly_accessible=False,
            ca_cert_identifier=AUTHORITY,
            parameter_group_name=parameters.name,
            maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            deletion_protection=args.protect,
            # RDS takes no last snapshot of a replica.
            skip_final_snapshot=True,
            apply_immediately=not args.protect,
            performance_insights_enabled=True,
            performance_insights_retention_period=INSIGHTS_DAYS,
            performance_insights_kms_key_id=args.key_arn,
            enabled_cloudwatch_logs_exports=["postgresql"],
            opts=ResourceOptions.merge(
                opts, ResourceOptions(depends_on=[_logs(f"{name}-replica", identifier, args, opts)])
            ),
        )

    @staticmethod
    def _secret(name: str, args: DatabaseArgs, opts: ResourceOptions) -> Secret:
        secret = SecretArgs(
            path=args.secret_path,
            description="Master user of the database, put by the migration task",
            key_arn=args.secret_key_arn,
            recovery_days=args.secret_recovery_days,
        )
        return Secret(f"{name}-master", secret, opts)


def _logs(name: str, identifier: str, args: DatabaseArgs, opts: ResourceOptions) -> aws.cloudwatch.LogGroup:
    # RDS would make the group itself, without an end and without our key; thus the instance has a name of ours.
    return aws.cloudwatch.LogGroup(
        name,
        name=f"/aws/rds/instance/{identifier}/postgresql",
        retention_in_days=args.log_days,
        kms_key_id=args.log_key_arn,
        opts=opts,
    )


def _identifier(name: str) -> str:
    return names.exact(name, names.DATABASE_LIMIT)
