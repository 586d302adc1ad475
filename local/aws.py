"""The AWS objects that Pulumi makes elsewhere: queues, bucket, secret, key. `python -m local.aws STATE`."""

import base64
import json
import secrets
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
from botocore.exceptions import ClientError

from local import names, settings
from local.places import Places
from local.private import write_private

KEY_BYTES = 32


def provision(session: boto3.Session, key_file: Path) -> None:
    """Make what is missing; what exists is kept."""
    _queues(session)
    _bucket(session)
    _credential_key(session, key_file)
    _provider_key(session)


def _queues(session: boto3.Session) -> None:
    sqs = session.client("sqs")
    dead_letters = sqs.create_queue(QueueName=names.DEAD_LETTERS, Attributes={"MessageRetentionPeriod": "1209600"})
    attributes = sqs.get_queue_attributes(QueueUrl=dead_letters["QueueUrl"], AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": names.MAX_RECEIVES}
    sqs.create_queue(QueueName=names.QUEUE, Attributes={"RedrivePolicy": json.dumps(redrive)})


def _bucket(session: boto3.Session) -> None:
    s3 = session.client("s3")
    if names.BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=names.BUCKET, CreateBucketConfiguration={"LocationConstraint": session.region_name})


def _credential_key(session: boto3.Session, key_file: Path) -> None:
    """Keep the key in a file, too: with a new one, no credential in PostgreSQL could sign in any more."""
    manager = session.client("secretsmanager")
    try:
        manager.describe_secret(SecretId=names.CREDENTIAL_KEY)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        if not key_file.exists():
            write_private(key_file, base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode())
        manager.create_secret(Name=names.CREDENTIAL_KEY, SecretString=key_file.read_text())


def _provider_key(session: boto3.Session) -> None:
    kms = session.client("kms")
    if names.PROVIDER_KEY not in {alias["AliasName"] for alias in kms.list_aliases()["Aliases"]}:
        key = kms.create_key(Description="Secrets of providers")
        kms.create_alias(AliasName=names.PROVIDER_KEY, TargetKeyId=key["KeyMetadata"]["KeyId"])


def main(arguments: list[str]) -> int:
    """Provision, then have the emulator save: from now on, nothing of this may be lost."""
    places = Places(Path(arguments[0]))
    places.create()
    region, endpoint = settings.told("AWS_REGION", "AWS_ENDPOINT_URL")
    session = boto3.Session(region_name=region)
    provision(session, places.secrets / "credential-key")
    with urlopen(Request(f"{endpoint}/_local/save", method="POST")):  # noqa: S310 - loopback
        print(f"{names.QUEUE}, {names.DEAD_LETTERS}, {names.BUCKET}, {names.CREDENTIAL_KEY}, {names.PROVIDER_KEY}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
