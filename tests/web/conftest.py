"""A database, a queue and a bucket for each test of the API and the console."""

import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from tests.conftest import REGION, free_port
from tests.roles import as_role
from tests.web.house import Door, serving, settings
from web.settings import WebSettings

Chosen = Callable[..., WebSettings]
Serve = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture(scope="module")
def post(moto_url: str) -> dict[str, str]:
    name = f"web-{uuid.uuid1()}"
    options: Any = {"endpoint_url": moto_url, "region_name": REGION}
    boto3.client("secretsmanager", **options).create_secret(Name=name, SecretString=secrets.token_urlsafe(32))
    boto3.client("s3", **options).create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    queue = boto3.client("sqs", **options).create_queue(QueueName=name)["QueueUrl"]
    kms = boto3.client("kms", **options).create_key()["KeyMetadata"]["KeyId"]
    return {"secret": name, "bucket": name, "queue_url": queue, "kms": kms, "endpoint": moto_url}


@pytest.fixture
def chosen(
    database_url: str, post: dict[str, str], moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Chosen:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    # Both doors may do in the database what a release lets them do, and nothing else.
    own = as_role(database_url, "web", tmp_path, monkeypatch)

    def choose(**changes: Any) -> WebSettings:
        return settings(own, post, free_port(), **changes)

    return choose


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    """The API, which has two accounts, `shop` and `bank`."""
    async with serving(chosen()) as serves:
        yield serves


@pytest.fixture
def accounts(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for name in ("shop", "bank"):
            connection.execute(
                "INSERT INTO account (id, name, allowed_domains) VALUES (%s, %s, %s)",
                (uuid.uuid1(), name, [f"{name}.example"]),
            )
