import base64
import os
import uuid

import boto3
import psycopg
import pytest
import trustme

from mail.accounts import secret_digest
from tests.conftest import REGION, free_port
from tests.relay.house import SECRET, USER, Files
from tests.relay.process import KEY

PASSED_ON = ("AWS_", "PG", "PATH", "HOME")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    pair = ca.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    pair.private_key_pem.write_to_path(key)
    for blob in pair.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    return Files(ca, certificate, key)


def provision(url: str) -> dict[str, str]:
    """Make a queue, a bucket and the credential key; what tells a process of them."""
    queue = boto3.client("sqs", endpoint_url=url, region_name=REGION)
    queue_url = queue.create_queue(QueueName=f"jobs-{uuid.uuid1()}")["QueueUrl"]
    bucket = f"bodies-{uuid.uuid1()}"
    boto3.client("s3", endpoint_url=url, region_name=REGION).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    name, text = f"key-{uuid.uuid1()}", base64.urlsafe_b64encode(KEY).decode()
    boto3.client("secretsmanager", endpoint_url=url, region_name=REGION).create_secret(Name=name, SecretString=text)
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "QUEUE_URL": queue_url,
        "BODY_BUCKET": bucket,
        "CREDENTIAL_KEY_SECRET": name,
    }


@pytest.fixture(scope="module")
def aws(moto_url: str) -> dict[str, str]:
    return provision(moto_url)


def surroundings(aws: dict[str, str], files: Files) -> dict[str, str]:
    """The environment of a relay on ports of its own, without a database."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}  # noqa: TID251
    own = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "0.5",
        "RELAY_HOST": "127.0.0.1",
        "RELAY_STARTTLS_PORT": str(free_port()),
        "RELAY_TLS_PORT": str(free_port()),
        "RELAY_CERTIFICATE_FILE": str(files.certificate),
        "RELAY_PRIVATE_KEY_FILE": str(files.key),
        "RELAY_GRACE_SECONDS": "0.2",
        "RELAY_IDLE_DRAIN_SECONDS": "0.5",
        "RELAY_MAX_SESSIONS_PER_ADDRESS": "0",
        "RELAY_MAX_SESSIONS_PER_ACCOUNT": "0",
        "RELAY_CONNECTIONS_PER_MINUTE": "0",
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": str(free_port()),
    }
    return inherited | aws | own


@pytest.fixture
def environment(aws: dict[str, str], files: Files) -> dict[str, str]:
    return surroundings(aws, files)


def open_account(connection: psycopg.Connection, name: str, username: str, key: bytes = KEY) -> None:
    """Make an account for example.com, and a credential whose secret is SECRET."""
    account = uuid.uuid1()
    connection.execute(
        "INSERT INTO account (id, name, allowed_domains, on_unknown) VALUES (%s, %s, %s, 'hold')",
        (account, name, ["example.com"]),
    )
    connection.execute(
        "INSERT INTO credential (id, account_id, username, digest) VALUES (%s, %s, %s, %s)",
        (uuid.uuid1(), account, username, secret_digest(key, username, SECRET)),
    )


@pytest.fixture
def with_account(environment: dict[str, str], database_url: str) -> dict[str, str]:
    """The environment with a database that has one account."""
    with psycopg.connect(database_url) as connection:
        open_account(connection, "shop", USER)
    return environment | {"DATABASE_URL": database_url, "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "5"}
