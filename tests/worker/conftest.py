from collections.abc import AsyncIterator

import pytest
import structlog
from aiobotocore.session import get_session

from backing.ids import new_id
from tests.worker.house import Books, Post


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Lines as in production; structlog's own way for terminals draws every variable of a traceback."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


@pytest.fixture
def books(database_url: str) -> Books:
    return Books(database_url)


@pytest.fixture
async def post(moto_url: str) -> AsyncIterator[Post]:
    """A queue and a bucket of this test's own."""
    name, session = f"t-{new_id()}", get_session()
    async with session.create_client("sqs", region_name="eu-central-1", endpoint_url=moto_url) as sqs:
        queue_url = (await sqs.create_queue(QueueName=name))["QueueUrl"]
        async with session.create_client("s3", region_name="eu-central-1", endpoint_url=moto_url) as s3:
            await s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield Post(moto_url, queue_url, name)
        await sqs.delete_queue(QueueUrl=queue_url)
