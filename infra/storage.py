"""A bucket that only its owner reads, only over TLS, and only for a while."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.iam import StatementFor

ABANDONED_UPLOAD_DAYS = 1
_LOGS = "s3/"


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """How long objects live; without a key S3 encrypts with its own."""

    expiry_days: int | None = None
    """Days that every object lives; None for as long as nobody deletes it."""
    prefix_days: Mapping[str, int] = field(default_factory=dict[str, int])
    """Days by prefix, such as {"bodies/": 30}; what no prefix names never expires."""
    old_version_days: int | None = None
    """Days that a version lives after it was replaced or deleted; None for no versions at all."""
    key_arn: Input[str] | None = None
    logs: "Bucket | None" = None
    """Where S3 writes down every request, below s3/; that bucket lets it with `request_logs`."""
    force_destroy: bool = False
    statements: Sequence[StatementFor] = ()
    """Who else may come, such as `iam.service_may("ses.amazonaws.com", ["s3:PutObject"], below="/raw/*", ...)`."""


class Bucket(pulumi.ComponentResource):
    """Declares a hardened bucket. It keeps no versions unless asked: a message that is deleted must be gone."""

    name: Output[str]
    arn: Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:storage:Bucket", name, None, opts)
        child = ResourceOptions(parent=self)

        bucket = aws.s3.Bucket(names.fit(name, names.BUCKET_LIMIT), force_destroy=args.force_destroy, opts=child)
        self._close(name, bucket, args.statements, child)
        self._encrypt(name, bucket, args.key_arn, child)
        self._expire(name, bucket, args, child)
        if args.logs is not None:
            self._log(name, bucket, args.logs, child)

        self.name, self.arn = bucket.bucket, bucket.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    @staticmethod
    def _close(name: str, bucket: aws.s3.Bucket, statements: Sequence[StatementFor], opts: ResourceOptions) -> None:
        block = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=opts,
        )
        # S3 answers OperationAborted when two of these three change at the same time.
        owner = aws.s3.BucketOwnershipControls(
            name,
            bucket=bucket.bucket,
            rule={"object_ownership": "BucketOwnerEnforced"},
            opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=[block])),
        )
        everything = Output.concat(bucket.arn, "/*")
        aws.s3.BucketPolicy(
            name,
            bucket=bucket.bucket,
            policy=iam.document(
                *(statement(bucket.arn) for statement in statements), iam.tls_only("s3:*", [bucket.arn, everything])
            ),
            opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=[owner])),
        )

    @staticmethod
    def _encrypt(name: str, bucket: aws.s3.Bucket, key_arn: Input[str] | None, opts: ResourceOptions) -> None:
        algorithm = "AES256" if key_arn is None else "aws:kms"
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": algorithm,
                        "kms_master_key_id": key_arn,
                    },
                    # One KMS call per bucket and some minutes, not one per object.
                    "bucket_key_enabled": key_arn is not None,
                }
            ],
            opts=opts,
        )

    @staticmethod
    def _log(name: str, bucket: aws.s3.Bucket, logs: "Bucket", opts: ResourceOptions) -> None:
        aws.s3.BucketLogging(
            name,
            bucket=bucket.bucket,
            target_bucket=logs.name,
            # Of all buckets, each line says of which.
            target_prefix=_LOGS,
            # The policy that lets S3 write has to be there.
            opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=[logs])),
        )

    @staticmethod
    def _expire(name: str, bucket: aws.s3.Bucket, args: BucketArgs, opts: ResourceOptions) -> None:
        if args.old_version_days is not None:
            versioning = aws.s3.BucketVersioning(
                name, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=opts
            )
            # AWS: rules about old versions take effect where versioning has been switched on before.
            opts = ResourceOptions.merge(opts, ResourceOptions(depends_on=[versioning]))
        aws.s3.BucketLifecycleConfiguration(name, bucket=bucket.bucket, rules=_rules(args), opts=opts)


def request_logs(account_id: Input[str], buckets: str) -> StatementFor:
    """Returns what lets S3 write down requests to other buckets of the account.

    Args:
        account_id: the account.
        buckets: their names; `*` may stand in it.
    """
    return iam.service_may(
        "logging.s3.amazonaws.com",
        ["s3:PutObject"],
        sid="RequestLogs",
        account_id=account_id,
        source_arn=f"arn:aws:s3:::{buckets}",
        below=f"/{_LOGS}*",
    )


def _rules(args: BucketArgs) -> list[aws.s3.BucketLifecycleConfigurationRuleArgsDict]:
    days = {"": args.expiry_days, **args.prefix_days}
    rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
        {
            "id": f"expire-{prefix.strip('/')}" if prefix else "expire",
            "status": "Enabled",
            "filter": {"prefix": prefix},
            "expiration": {"days": number},
        }
        for prefix, number in days.items()
        if number is not None
    ]
    if args.old_version_days is not None:
        rules.append(
            {
                "id": "old-versions",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrent_version_expiration": {"noncurrent_days": args.old_version_days},
            }
        )
    rules.append(
        {
            "id": "abandoned-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abort_incomplete_multipart_upload": {"days_after_initiation": ABANDONED_UPLOAD_DAYS},
        }
    )
    return rules
