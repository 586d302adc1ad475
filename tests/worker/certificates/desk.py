"""The renewer's command with real parts: AWS APIs, a DNS server, an ACME server."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from cryptography import x509

from backing.certificates import record
from backing.certificates.bundle import Bundle, decode
from backing.certificates.record import Record
from tests.conftest import REGION
from tests.worker.certificates.pebble import Pebble
from tests.worker.certificates.zone import Zone
from worker.certificates.__main__ import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was logged."""
        found = [json.loads(line) for line in self.out.splitlines() if line.startswith("{")]
        return [line for line in found if "event" in line]

    def counted(self, name: str) -> list[float]:
        """The values of a metric, in the order in which they were told to CloudWatch."""
        return [line[name] for line in self._metrics if name in line]

    @property
    def namespaces(self) -> set[str]:
        """Where CloudWatch puts metrics."""
        return {each["Namespace"] for line in self._metrics for each in line["_aws"]["CloudWatchMetrics"]}

    @property
    def _metrics(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines() if line.startswith('{"_aws"')]

    @property
    def result(self) -> tuple[str, str]:
        (ended,) = [line for line in self.lines if line["event"] == "run ended"]
        return ended["result"], ended["words"]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


@dataclass
class Desk:
    """Runs commands, and looks at what they did."""

    environment: dict[str, str]
    set_variable: Callable[[str, str], None]
    capture: pytest.CaptureFixture[str]
    moto_url: str
    names: tuple[str, ...] = field(default=())

    def run(self, *arguments: str, **changes: str) -> Said:
        for name, value in {**self.environment, **changes}.items():
            self.set_variable(name, value)
        self.capture.readouterr()
        code = main(list(arguments))
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)

    def client(self, service: str) -> Any:
        session: Any = boto3
        return session.client(service, endpoint_url=self.moto_url, region_name=REGION)

    def kept(self, stage: str = "AWSCURRENT") -> Bundle:
        secret = self.environment["CERTIFICATE_SECRET"]
        found = self.client("secretsmanager").get_secret_value(SecretId=secret, VersionStage=stage)
        return decode(found["SecretString"])

    def chain(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.kept().material.chain)

    def copies(self) -> dict[str, str]:
        s3, bucket = self.client("s3"), self.environment["CERTIFICATE_BACKUP_BUCKET"]
        keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys}

    def version(self) -> str:
        secret = self.environment["CERTIFICATE_SECRET"]
        return str(self.client("secretsmanager").get_secret_value(SecretId=secret)["VersionId"])

    def item(self, kind: str = "lock#acme") -> dict[str, Any]:
        key = {"id": {"S": f"{kind}#{self.names[0]}"}}
        item = self.client("dynamodb").get_item(TableName=self.environment["LOCK_TABLE"], Key=key)["Item"]
        return {name: next(iter(value.values())) for name, value in item.items()}

    def record(self) -> Record:
        """What everybody may know."""
        item = self.item("certificate")
        assert item.keys() == {"id", "record"}
        found = record.decode(item["record"])
        assert found
        return found

    def account(self) -> dict[str, str]:
        """Our account at the server."""
        found = self.client("secretsmanager").get_secret_value(SecretId=self.environment["ACME_ACCOUNT_SECRET"])
        account: dict[str, str] = json.loads(found["SecretString"])["accounts"][self.environment["ACME_DIRECTORY_URL"]]
        return account

    def write_account(self, account: dict[str, str]) -> None:
        text = json.dumps({"accounts": {self.environment["ACME_DIRECTORY_URL"]: account}})
        secret = self.environment["ACME_ACCOUNT_SECRET"]
        self.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)

    def memory(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.item()["memory"])
        return found


def provision(moto_url: str) -> dict[str, str]:
    """Make what the infrastructure makes: secrets without a value, a table, a bucket."""
    name, options = f"t-{uuid.uuid4()}", {"endpoint_url": moto_url, "region_name": REGION}  # noqa: TID251
    session: Any = boto3
    manager, dynamodb, s3 = (session.client(one, **options) for one in ("secretsmanager", "dynamodb", "s3"))
    for secret in (f"{name}-tls", f"{name}-account"):
        manager.create_secret(Name=secret)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return {
        "CERTIFICATE_SECRET": f"{name}-tls",
        "ACME_ACCOUNT_SECRET": f"{name}-account",
        "LOCK_TABLE": name,
        "CERTIFICATE_BACKUP_BUCKET": name,
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_REGION": REGION,
    }


def environment(moto_url: str, zone: Zone, acme: Pebble, names: str) -> dict[str, str]:
    return {
        **provision(moto_url),
        "CERTIFICATE_NAMES": names,
        "DNS_ZONE_ID": zone.id,
        "DNS_SERVERS": zone.server,
        "ACME_DIRECTORY_URL": acme.directory,
        "ACME_EMAIL": "postmaster@example.com",
        "ACME_SECONDS": "20",
        "REQUESTS_CA_BUNDLE": str(acme.trust),
        "RENEWAL_WAIT_SECONDS": "[]",
    }
