"""Mail in numbers, over the API."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.backing.mailbook import BAKERY, Mailbook
from tests.waiting import until
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/statistics"


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen()) as serves:
        yield serves


async def test_all_numbers_are_of_one_moment(door: Door, book: Mailbook, database_url: str) -> None:
    """What comes in between two of its statements is in none of its numbers."""
    message, key = book.mail(book.provider(), "accepted"), await door.key("shop", "messages:read")
    blocked = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        " WHERE relation = 'attempt'::regclass AND NOT granted AND datname = current_database()"
    )
    async with asyncio.TaskGroup() as tasks:
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE attempt IN ACCESS EXCLUSIVE MODE")
            asking = tasks.create_task(door.get(PATH, key))
            await until(lambda: book.run(blocked) == [(1,)])
            other.execute(
                "UPDATE attempt SET outcome = 'accepted', finished_at = now() WHERE delivery_id = %s", [message]
            )
            other.commit()
    assert (asking.result().json["states"], asking.result().json["latency"]) == ({"accepted": 1}, None)
    assert (await door.get(PATH, key)).json["latency"]["count"] == 1


async def test_mail_is_counted_by_state_provider_and_domain(door: Door, book: Mailbook) -> None:
    first, second = book.provider(), book.provider(None)
    for seconds in (1, 2, 3):
        message = book.mail(first, "delivered", "a@far.example", "b@Near.example")
        book.run("DELETE FROM attempt WHERE delivery_id = %s", message)
        book.run(
            "INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, finished_at, outcome)"
            " SELECT id, 1, account_id, %s, 'w', accepted_at, accepted_at + make_interval(secs => %s), 'accepted'"
            " FROM message WHERE id = %s",
            first,
            seconds,
            message,
        )
    failed = book.mail(second, "failed", "c@far.example")
    book.run("DELETE FROM attempt WHERE delivery_id = %s", failed)
    old = book.mail(first, "failed", "d@far.example")
    book.run("UPDATE message SET accepted_at = now() - interval '2 days' WHERE id = %s", old)
    book.mail(book.provider(BAKERY), "accepted", account_id=BAKERY)
    answer = await door.get(PATH, await door.key("shop", "messages:read"))
    assert answer.status == 200, answer
    told = answer.json
    latency = {"count": 3, "p50": 2.0, "p95": pytest.approx(2.9), "p99": pytest.approx(2.98)}
    assert told == {
        "since": told["since"],
        "until": told["until"],
        "messages": 4,
        "complete": True,
        "states": {"delivered": 6, "failed": 1},
        "latency": latency,
        "providers": [
            {"name": "ses-1", "states": {"delivered": 6}, "latency": latency},
            {"name": "ses-2", "states": {"failed": 1}, "latency": None},
        ],
        "domains": [
            {"name": "far.example", "states": {"delivered": 3, "failed": 1}},
            {"name": "near.example", "states": {"delivered": 3}},
        ],
    }


async def test_an_account_counts_its_own_mail_only(door: Door, book: Mailbook) -> None:
    book.mail(book.provider(BAKERY), "accepted", account_id=BAKERY)
    key, operator = await door.key("shop"), await door.key()
    own = await door.get(PATH, key)
    assert (own.json["messages"], own.json["states"], own.json["latency"]) == (0, {}, None)
    assert (own.json["providers"], own.json["domains"]) == ([], [])
    assert (await door.get(f"{PATH}?account=bakery", key)).status == 404
    assert (await door.get(f"{PATH}?account=bakery", operator)).json["states"] == {"accepted": 1}
    assert (await door.get(PATH, operator)).status == 422
    assert (await door.get(PATH, await door.key("shop", "rules:read"))).status == 403


@pytest.mark.parametrize(
    "params",
    [
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2026-01-01T00:00:00Z", "until": "2026-02-02T00:00:00Z"},
        {"since": "yesterday"},
        {"colour": "red"},
    ],
)
async def test_a_time_that_cannot_be_counted_is_refused(door: Door, params: dict[str, str]) -> None:
    assert (await door.get(PATH, await door.key("shop"), params=params)).status == 422
