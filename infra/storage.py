"""A bucket that only its owner reads, only over TLS, and only for a while."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names

ABANDONED_UPLOAD_DAYS = 1


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """How long objects live; without a key S3 encrypts with its own."""

    expiry_days: int
    key_arn: Input[str] | None = None
    force_destroy: bool = False


class Bucket(pulumi.ComponentResource):
    """Declares a hardened bucket. It keeps no versions: a message that is deleted must be gone."""

    name: Output[str]
    arn: Output[str]

    def __init__(self, name: str, args: BucketArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:storage:Bucket", name, None, opts)
        child = ResourceOptions(parent=self)

        bucket = aws.s3.Bucket(names.fit(name, names.BUCKET_LIMIT), force_destroy=args.force_destroy, opts=child)
        self._close(name, bucket, child)
        self._encrypt(name, bucket, args.key_arn, child)
        self._expire(name, bucket, args.expiry_days, child)

        self.name, self.arn = bucket.bucket, bucket.arn
        self.register_outputs({"name": self.name, "arn": self.arn})

    @staticmethod
    def _close(name: str, bucket: aws.s3.Bucket, opts: ResourceOptions) -> None:
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
            policy=iam.document(iam.tls_only("s3:*", [bucket.arn, everything])),
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
    def _expire(name: str, bucket: aws.s3.Bucket, days: int, opts: ResourceOptions) -> None:
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.bucket,
            rules=[
                {"id": "expire", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": days}},
                {
                    "id": "abandoned-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": ABANDONED_UPLOAD_DAYS},
                },
            ],
            opts=opts,
        )
