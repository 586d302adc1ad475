"""A worker that answers what is asked through the API, in the same process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backing.aws import Aws
from backing.postgres.inquiries import Inquiries
from backing.postgres.pool import Database
from backing.secrets import Vault
from backing.settings import Settings
from backing.stop import Stop
from tests.conftest import REGION
from tests.worker.telling import LOOPBACK
from worker.inquiries.clerk import Clerk, Tools


@asynccontextmanager
async def working(url: str, kms_key: str, every: float = 0.1) -> AsyncIterator[Clerk]:
    """A worker's clerk beside the API."""
    aws = Aws(REGION)
    async with Database(Settings(database_url=url), aws).opened() as database, aws.kms() as kms:
        clerk = Clerk(Inquiries(database), Tools(Vault(kms, kms_key), aws, LOOPBACK), every=every)
        async with clerk.running(Stop()):
            yield clerk
