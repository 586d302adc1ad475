"""AWS clients. The only importer of aioboto3, which pins old releases of boto3 and may have to go one day."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aioboto3
from aiobotocore.config import AioConfig

if TYPE_CHECKING:
    from types_aiobotocore_kms import KMSClient
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_secretsmanager import SecretsManagerClient
    from types_aiobotocore_sqs import SQSClient

CONNECT_TIMEOUT_SECONDS = 3


def _config(read_timeout: float, connections: int = 10) -> AioConfig:
    # botocore owns the retries of this hop: three tries, for calls that may be repeated without harm. Its parameter
    # validation costs 0.6 ms a call and finds only programming errors, which tests find.
    return AioConfig(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout,
        max_pool_connections=connections,
        parameter_validation=False,
        retries={"mode": "standard", "total_max_attempts": 3},
    )


class Aws:
    """Opens clients of one region; endpoints and credentials come from the SDK's own environment variables."""

    def __init__(self, region: str) -> None:
        self._session = aioboto3.Session()
        self._region = region

    @asynccontextmanager
    async def sqs(self, read_timeout: float = 5) -> AsyncIterator["SQSClient"]:
        """A queue client; a long poll needs a `read_timeout` above its wait."""
        async with self._session.client("sqs", region_name=self._region, config=_config(read_timeout)) as client:
            yield client

    @asynccontextmanager
    async def s3(self, read_timeout: float = 10) -> AsyncIterator["S3Client"]:
        """An object store client."""
        async with self._session.client("s3", region_name=self._region, config=_config(read_timeout)) as client:
            yield client

    @asynccontextmanager
    async def secrets(self) -> AsyncIterator["SecretsManagerClient"]:
        """A Secrets Manager client."""
        async with self._session.client("secretsmanager", region_name=self._region, config=_config(5)) as client:
            yield client

    @asynccontextmanager
    async def kms(self) -> AsyncIterator["KMSClient"]:
        """A Key Management Service client."""
        async with self._session.client("kms", region_name=self._region, config=_config(5)) as client:
            yield client

    async def database_token(self, host: str, port: int, user: str) -> str:
        """A password for PostgreSQL, good for 15 minutes (RDS IAM database authentication)."""
        async with self._session.client("rds", region_name=self._region) as client:
            token: str = await client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
            return token
