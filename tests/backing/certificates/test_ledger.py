"""A lock in a table, where the table is not what it should be."""

from typing import Any

import pytest

from backing.aws import Aws
from backing.certificates.ledger import TableLedger
from mail.errors import Unavailable
from tests.conftest import REGION

pytestmark = pytest.mark.anyio


async def test_a_table_that_is_not_there_is_named(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    async with Aws(REGION).dynamodb() as client:
        ledger = TableLedger(client, "none", "lock#acme#a.example")
        for call in (ledger.look, ledger.take):
            with pytest.raises(Unavailable, match="DynamoDB GetItem none: "):
                await call()
        with pytest.raises(Unavailable, match="DynamoDB PutItem none: "):
            await ledger.save("memory")


class Slow:
    async def put_item(self, **_: Any) -> None:
        raise TimeoutError


async def test_a_table_that_does_not_answer_is_named() -> None:
    slow: Any = Slow()
    with pytest.raises(Unavailable, match="DynamoDB PutItem table: TimeoutError"):
        await TableLedger(slow, "table", "lock#acme#a.example").release("memory")
