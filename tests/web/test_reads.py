"""Searches and stories are read at a replica while it answers."""

import pytest

from tests.backing.mailbook import Mailbook
from tests.conftest import database, free_port
from tests.web.conftest import Chosen
from tests.web.house import serving

pytestmark = pytest.mark.anyio


async def test_messages_are_read_at_the_replica_and_keys_are_not(
    chosen: Chosen, postgres_url: str, database_url: str
) -> None:
    Mailbook(database_url)
    with database(postgres_url) as copy:
        book = Mailbook(copy)
        message = book.mail(book.provider())
        async with serving(chosen(database_replica_url=copy)) as door:
            key = await door.key("shop")
            found = await door.get("/api/v1/messages", key)
            assert [each["id"] for each in found.json["items"]] == [str(message)]
            assert (await door.get(f"/api/v1/messages/{message}", key)).status == 200
            # What is ordered is ordered of the database itself, which knows no such message yet.
            ordered = await door.post(f"/api/v1/messages/{message}/cancel", key)
            assert (ordered.status, ordered.json["noted"], book.states(message)) == (202, True, ["accepted"])


async def test_a_replica_that_is_away_is_done_without(chosen: Chosen, database_url: str) -> None:
    book = Mailbook(database_url)
    message = book.mail(book.provider())
    away = f"postgresql://web@127.0.0.1:{free_port()}/none"
    async with serving(chosen(database_replica_url=away, database_acquire_timeout_seconds=0.5)) as door:
        key = await door.key("shop")
        answers = [(await door.get(f"/api/v1/messages/{message}", key)).status for _ in range(3)]
    assert answers == [200, 200, 200]
