"""AWS clients. The only importer of aioboto3, which pins old releases of boto3 and may have to go one day."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from aiohttp.abc import AbstractResolver
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import get_cert_path

from backing.awsjson import JsonService, http_session
from backing.ses import Ses
from backing.signing import Keys, Signer
from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_kms import KMSClient
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_secretsmanager import SecretsManagerClient
    from types_aiobotocore_sesv2 import SESV2Client
    from types_aiobotocore_sqs import SQSClient

CONNECT_TIMEOUT_SECONDS = 3
# How long a token for the cache is good; ElastiCache takes no longer ones.
TOKEN_SECONDS = 900


def _config(read_timeout: float, connections: int = 10, resolver: AbstractResolver | None = None) -> AioConfig:
    # botocore owns the retries of this hop: three tries, for calls that may be repeated without harm. Its parameter
    # validation costs 0.6 ms a call and finds only programming errors, which tests find.
    return AioConfig(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=read_timeout,
        max_pool_connections=connections,
        parameter_validation=False,
        retries={"mode": "standard", "total_max_attempts": 3},
        connector_args={"resolver": resolver} if resolver else None,
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
    async def direct_sqs(self, client: "SQSClient", read_timeout: float = 5) -> AsyncIterator[JsonService]:
        """What sends to queues without the SDK, with the client's endpoint and the SDK's credentials."""
        meta = client.meta
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=read_timeout)
        async with http_session(limits, self._authorities()) as http:
            yield JsonService(http, meta.endpoint_url, "AmazonSQS", Signer(meta.region_name, "sqs"), self._keys)

    async def ses(self, region: str | None = None, endpoint: str | None = None) -> Ses:
        """What sends mail without the SDK, with the SDK's credentials; its endpoint too, unless one is given.

        Raises:
            Unavailable: the SDK cannot say where SES is.
        """
        asked = self._session.client(
            "sesv2", region_name=region or self._region, endpoint_url=endpoint, config=_config(5)
        )
        try:
            async with asked as client:
                return Ses(client.meta.endpoint_url, Signer(client.meta.region_name, "ses"), self._keys)
        except FAULTS as fault:
            raise Unavailable(f"SES: {type(fault).__name__}: {fault}") from fault

    @asynccontextmanager
    async def sesv2(
        self, region: str | None = None, endpoint: str | None = None, resolver: AbstractResolver | None = None
    ) -> AsyncIterator["SESV2Client"]:
        """An SES client for what is not sending; the names of hosts are asked of the resolver, if there is one."""
        config = _config(5, resolver=resolver)
        async with self._session.client(
            "sesv2", region_name=region or self._region, endpoint_url=endpoint, config=config
        ) as client:
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
    async def cloudwatch(self) -> AsyncIterator[Any]:
        """A CloudWatch client, to read metrics with (`cloudwatch:GetMetricData`)."""
        async with self._session.client("cloudwatch", region_name=self._region, config=_config(5)) as client:
            yield client

    @asynccontextmanager
    async def dynamodb(self) -> AsyncIterator["DynamoDBClient"]:
        """A DynamoDB client."""
        async with self._session.client("dynamodb", region_name=self._region, config=_config(5)) as client:
            yield client

    @asynccontextmanager
    async def route53(self) -> AsyncIterator[Any]:
        """A Route 53 client."""
        async with self._session.client("route53", region_name=self._region, config=_config(10)) as client:
            yield client

    @asynccontextmanager
    async def kms(self) -> AsyncIterator["KMSClient"]:
        """A Key Management Service client."""
        async with self._session.client("kms", region_name=self._region, config=_config(5)) as client:
            yield client

    async def set_master_password(self, instance: str, password: str) -> None:
        """Let RDS change a master password (`rds:ModifyDBInstance`); it takes RDS some seconds.

        Raises:
            Unavailable: RDS did not answer, or the instance is not ready for a change.
        """
        try:
            async with self._session.client("rds", region_name=self._region, config=_config(10)) as client:
                await client.modify_db_instance(
                    DBInstanceIdentifier=instance, MasterUserPassword=password, ApplyImmediately=True
                )
        except FAULTS as fault:
            raise Unavailable(f"RDS {instance}: {type(fault).__name__}: {fault}") from fault

    async def database_token(self, host: str, port: int, user: str) -> str:
        """A password for PostgreSQL, good for 15 minutes (RDS IAM database authentication)."""
        async with self._session.client("rds", region_name=self._region) as client:
            token: str = await client.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user)
            return token

    async def cache_token(self, user: str, name: str, *, serverless: bool) -> str:
        """A password for ElastiCache, good for 15 minutes: a `connect` request, signed in its query (SigV4).

        Args:
            user: the ElastiCache user, of which id and name are the same.
            name: the replication group or the serverless cache.
            serverless: which of both it is.

        Raises:
            Unavailable: there are no credentials to sign with.
        """
        keys = await self._keys()
        query = {"Action": "connect", "User": user} | ({"ResourceType": "ServerlessCache"} if serverless else {})
        request = AWSRequest("GET", f"http://{name.lower()}/", params=query)
        credentials = ReadOnlyCredentials(keys.access_key, keys.secret_key, keys.token)
        SigV4QueryAuth(credentials, "elasticache", self._region, expires=TOKEN_SECONDS).add_auth(request)
        return str(request.url).removeprefix("http://")

    async def _keys(self) -> Keys:
        """Give the credentials of now; the SDK fetches new ones of a role long before the old ones end.

        Raises:
            Unavailable: there are none.
        """
        try:
            session: Any = self._session
            credentials = await session.get_credentials()
            frozen = await credentials.get_frozen_credentials() if credentials else None
        except (*FAULTS, RuntimeError) as fault:  # RuntimeError: what it got has ended already
            raise Unavailable(f"AWS credentials: {type(fault).__name__}: {fault}") from fault
        if frozen is None:
            raise Unavailable("AWS credentials: none found")
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)

    def _authorities(self) -> str:
        """Name the file of trusted authorities that the SDK would use."""
        chosen = self._session._session.get_config_variable("ca_bundle")  # noqa: SLF001 - it offers no other way
        return str(chosen or get_cert_path(verify=True))
