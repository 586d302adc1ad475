"""A database that has no connection to spare, or is away (EC-2)."""

import time
from typing import Any

import pytest

from tests.web.conftest import Chosen
from tests.web.house import serving

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("accounts")]


@pytest.mark.requirement("EC-2")
async def test_who_waits_for_a_connection_in_vain_is_told_when_to_come_again(chosen: Chosen) -> None:
    async with serving(chosen(database_pool_max=1, database_acquire_timeout_seconds=0.5)) as door:
        key = await door.key("shop")
        async with door.house.database.transaction():
            began = time.monotonic()
            answer: Any = await door.get("/api/v1/messages", key)
            assert time.monotonic() - began < 5
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert "PostgreSQL" not in answer.body.decode()
        assert (await door.get("/readyz")).status == 200
        assert (await door.get("/api/v1/messages", key)).status == 200


async def test_a_request_that_takes_too_long_is_answered(chosen: Chosen) -> None:
    async with serving(
        chosen(database_pool_max=1, database_acquire_timeout_seconds=20, web_request_seconds=0.3)
    ) as door:
        key = await door.key("shop")
        async with door.house.database.transaction():
            answer = await door.get("/api/v1/messages", key)
        assert (answer.status, answer.json["detail"]) == (503, "there was no answer in time; try again")
