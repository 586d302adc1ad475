"""What is kept: database, cache, queues, buckets, tables and secrets; and what SES sends and receives."""

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import Output, ResourceOptions

from infra import inbound, mail
from infra.cache import Cache, CacheArgs
from infra.cache_users import access_strings
from infra.database import Database, DatabaseArgs
from infra.iam import StatementFor
from infra.inbound import Inbound, InboundArgs
from infra.layers.ground import Ground
from infra.mail import Mail, MailArgs
from infra.queues import Queue, QueueArgs
from infra.secrets import Secret, SecretArgs
from infra.settings import Settings
from infra.storage import Bucket, BucketArgs
from infra.tables import Table, TableArgs

RAW_DAYS = 7
ATTACHMENT_DAYS = 30
# A certificate that was replaced is of no use once it has expired, and none lives longer.
CERTIFICATE_DAYS = 90
# A worker that takes an event or a message from SES has soon done with it.
SHORT_VISIBILITY_SECONDS = 60
SECRET_RECOVERY_DAYS = 30
SECRETS: Mapping[str, str] = {
    "credential-key": "Key that SMTP credentials are checked with, made by the migration task",
    "certificate": "Certificate and key of the SMTP endpoint, put by the renewer",
    "acme-account": "Key of the account at the certificate authority, made by the renewer",
}


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the services lean on."""

    database: Database
    cache: Cache
    delivery: Queue
    events: Queue
    outbound: Queue
    inbound: Queue | None
    apps: Mapping[str, Queue]
    mail_bucket: Bucket
    backups: Bucket
    table: Table
    secrets: Mapping[str, Secret]
    ses: Mail
    receipt: Inbound | None
    mail_key_arn: Output[str] | None


def lay(settings: Settings, ground: Ground, opts: ResourceOptions) -> Stores:
    """Declares the layer."""
    prefix = settings.prefix
    key = ground.data_key.arn if settings.customer_key else None
    events = _queue(settings, "events", key, opts, mail.events_statement(f"{prefix}-ses"))
    bucket = _mail_bucket(settings, ground, key, opts)
    arrivals = _arrivals(settings, bucket, key, opts) if settings.ses.inbound_domains else None
    return Stores(
        database=_database(settings, ground, opts),
        cache=_cache(settings, ground, opts),
        delivery=_delivery(settings, key, opts),
        events=events,
        outbound=_queue(settings, "outbound", key, opts),
        inbound=arrivals,
        apps={app: _queue(settings, f"app-{app}", key, opts) for app in _apps(settings)},
        mail_bucket=bucket,
        backups=_backups(settings, ground, key, opts),
        table=Table(f"{prefix}-once", TableArgs(protect=settings.protect, key_arn=key), opts),
        secrets={name: _secret(settings, ground, name, opts) for name in SECRETS},
        ses=_ses(settings, ground, events, opts),
        receipt=_receipt(settings, ground, arrivals, bucket, opts) if arrivals else None,
        mail_key_arn=key,
    )


def _database(settings: Settings, ground: Ground, opts: ResourceOptions) -> Database:
    args = DatabaseArgs(
        settings=settings.database,
        subnet_ids=ground.network.isolated_subnet_ids,
        security_group_ids=[ground.firewall.group_ids["database"]],
        key_arn=ground.data_key.arn,
        secret_key_arn=ground.secrets_key.arn,
        secret_path=_path(settings, "database-master"),
        secret_recovery_days=_recovery_days(settings),
        protect=settings.protect,
        log_days=settings.watch.log_days,
        log_key_arn=ground.watch_key.arn,
    )
    return Database(f"{settings.prefix}-database", args, opts)


def _cache(settings: Settings, ground: Ground, opts: ResourceOptions) -> Cache:
    args = CacheArgs(
        settings=settings.cache,
        subnet_ids=ground.network.isolated_subnet_ids,
        security_group_ids=[ground.firewall.group_ids["cache"]],
        users=access_strings(),
        protect=settings.protect,
        log_days=settings.watch.log_days,
        key_arn=ground.data_key.arn,
        log_key_arn=ground.watch_key.arn,
    )
    return Cache(f"{settings.prefix}-cache", args, opts)


def _delivery(settings: Settings, key: Output[str] | None, opts: ResourceOptions) -> Queue:
    args = QueueArgs(
        visibility_seconds=settings.queue.visibility_seconds,
        retention_days=settings.queue.retention_days,
        max_receives=settings.queue.max_receives,
        key_arn=key,
    )
    return Queue(f"{settings.prefix}-delivery", args, opts)


def _queue(
    settings: Settings, role: str, key: Output[str] | None, opts: ResourceOptions, *statements: StatementFor
) -> Queue:
    args = QueueArgs(
        visibility_seconds=SHORT_VISIBILITY_SECONDS,
        retention_days=settings.queue.retention_days,
        max_receives=settings.queue.max_receives,
        key_arn=key,
        statements=statements,
    )
    return Queue(f"{settings.prefix}-{role}", args, opts)


def _arrivals(settings: Settings, bucket: Bucket, key: Output[str] | None, opts: ResourceOptions) -> Queue:
    return _queue(settings, "inbound", key, opts, inbound.queue_statement(bucket.arn))


def _apps(settings: Settings) -> tuple[str, ...]:
    # Mail for an application that nobody knows goes to "default".
    return (*settings.ses.app_queues, "default") if settings.ses.inbound_domains else ()


def _mail_bucket(settings: Settings, ground: Ground, key: Output[str] | None, opts: ResourceOptions) -> Bucket:
    # What is below archive/ stays: it is what remains of mail that was forgotten.
    days = {"bodies/": settings.body_retention_days, "raw/": RAW_DAYS, "attachments/": ATTACHMENT_DAYS}
    # Whoever reads mail past the product is seen in the log.
    args = BucketArgs(prefix_days=days, key_arn=key, logs=ground.access_logs, force_destroy=not settings.protect)
    return Bucket(f"{settings.prefix}-mail", args, opts)


def _backups(settings: Settings, ground: Ground, key: Output[str] | None, opts: ResourceOptions) -> Bucket:
    args = BucketArgs(
        old_version_days=CERTIFICATE_DAYS,
        key_arn=key,
        logs=ground.access_logs,
        force_destroy=not settings.protect,
    )
    return Bucket(f"{settings.prefix}-backups", args, opts)


def _secret(settings: Settings, ground: Ground, name: str, opts: ResourceOptions) -> Secret:
    args = SecretArgs(
        path=_path(settings, name),
        description=SECRETS[name],
        key_arn=ground.secrets_key.arn,
        recovery_days=_recovery_days(settings),
    )
    return Secret(f"{settings.prefix}-{name}", args, opts)


def _path(settings: Settings, name: str) -> str:
    return f"{settings.project}/{settings.stack}/{name}"


def _recovery_days(settings: Settings) -> int:
    # Without protection a stack comes and goes, and its names have to be free again at once.
    return SECRET_RECOVERY_DAYS if settings.protect else 0


def _ses(settings: Settings, ground: Ground, events: Queue, opts: ResourceOptions) -> Mail:
    args = MailArgs(
        settings=settings.ses,
        region=settings.region,
        zone=settings.names.zone,
        zone_id=ground.zone.zone_id,
        events_queue_arn=events.arn,
    )
    return Mail(f"{settings.prefix}-ses", args, opts)


def _receipt(settings: Settings, ground: Ground, arrivals: Queue, bucket: Bucket, opts: ResourceOptions) -> Inbound:
    args = InboundArgs(
        settings=settings.ses,
        region=settings.region,
        zone=settings.names.zone,
        zone_id=ground.zone.zone_id,
        bucket_name=bucket.name,
        bucket_arn=bucket.arn,
        bucket_key_arn=ground.data_key.arn if settings.customer_key else None,
        queue_arn=arrivals.arn,
        needs=[arrivals],
    )
    return Inbound(f"{settings.prefix}-inbound", args, opts)
