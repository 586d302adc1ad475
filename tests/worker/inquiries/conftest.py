from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from backing.aws import Aws
from backing.postgres.pool import Database
from backing.secrets import Vault
from backing.settings import Settings
from tests.conftest import REGION
from tests.roles import as_role
from tests.worker.house import Books
from tests.worker.inquiries.office import Office


@pytest.fixture(scope="module")
def key(moto_url: str) -> str:
    return new_key(moto_url)


@pytest.fixture
def other_key(moto_url: str) -> str:
    return new_key(moto_url)


def new_key(moto_url: str) -> str:
    kms: Any = boto3.client("kms", endpoint_url=moto_url, region_name=REGION)
    return str(kms.create_key()["KeyMetadata"]["Arn"])


@pytest.fixture
async def office(
    books: Books, key: str, moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    books.account(None)
    aws, own = Aws(REGION), as_role(books.url, "worker", tmp_path, monkeypatch)
    async with (
        Database(Settings(database_url=books.url), aws).opened() as database,
        Database(Settings(database_url=own), aws).opened() as worker,
        aws.kms() as kms,
    ):
        yield Office(books, database, worker, Vault(kms, key), aws)
