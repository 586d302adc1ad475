"""The whole stack: the only file that wires components to each other and exports."""

import pulumi
import pulumi_aws as aws
from pulumi import ResourceOptions

from infra import config
from infra.keys import Key, KeyArgs
from infra.queues import Queue, QueueArgs
from infra.storage import Bucket, BucketArgs


def deploy() -> None:
    """Declares everything, in the order things depend on each other."""
    settings = config.load()
    prefix = f"{settings.project}-{settings.stack}"
    opts = ResourceOptions(providers=[_provider(settings)], protect=settings.protect)

    secrets_key = Key(
        f"{prefix}-secrets",
        KeyArgs(description="Secrets of delivery providers", deletion_days=settings.key_deletion_days),
        opts,
    )
    mail_key_arn = _mail_key(prefix, settings, opts).arn if settings.customer_key else None
    delivery = Queue(
        f"{prefix}-delivery",
        QueueArgs(
            visibility_seconds=settings.queue.visibility_seconds,
            retention_days=settings.queue.retention_days,
            max_receives=settings.queue.max_receives,
            key_arn=mail_key_arn,
        ),
        opts,
    )
    bodies = Bucket(
        f"{prefix}-bodies",
        BucketArgs(expiry_days=settings.body_retention_days, key_arn=mail_key_arn, force_destroy=not settings.protect),
        opts,
    )

    pulumi.export("delivery_queue_url", delivery.url)
    pulumi.export("delivery_dead_letter_queue_url", delivery.dead_letter_url)
    pulumi.export("bodies_bucket", bodies.name)
    pulumi.export("secrets_key_alias", secrets_key.alias)


def _provider(settings: config.Settings) -> aws.Provider:
    return aws.Provider(
        "aws",
        region=settings.region,
        allowed_account_ids=[settings.account] if settings.account else None,
        default_tags={"tags": settings.tags},
    )


def _mail_key(prefix: str, settings: config.Settings, opts: ResourceOptions) -> Key:
    # Bound to the two services: holding the key is of no use without permission on the queue or the bucket.
    services = [f"{service}.{settings.region}.amazonaws.com" for service in ("sqs", "s3")]
    args = KeyArgs(
        description="Mail on the queue and in the bucket",
        deletion_days=settings.key_deletion_days,
        services=services,
    )
    return Key(f"{prefix}-mail", args, opts)
