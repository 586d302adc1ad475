"""What a worker knows of where mail goes: with a real database that goes away, and notices over a real Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from backing.aws import Aws
from backing.cache import Cache, Pace
from backing.ids import new_id
from backing.notices import Listener, Notice, publish
from backing.postgres.pool import Database
from backing.postgres.routing import Routing, Routings
from backing.settings import CacheSettings, Settings
from mail.errors import Unavailable
from mail.routing.conditions import Question
from mail.routing.rules import Decision, Discard, Plan
from mail.routing.table import Table, compiled
from tests.waiting import until
from tests.worker.house import ACCOUNT, Books
from worker.routes import Routes

pytestmark = pytest.mark.anyio

FOREVER = 3600.0
NOTHING = Routing(compiled([], [], None), {})


def decided(table: Table) -> Decision:
    return table.decide(Question(message_id=UUID(int=1), mail_from="a@shop.example"), "b@far.example")


def add_rule(books: Books, account: UUID = ACCOUNT) -> UUID:
    rule = new_id()
    books.run(
        "INSERT INTO routing_rule (id, account_id, name, priority, action) VALUES (%s, %s, %s, 1, %s)",
        rule,
        account,
        f"rule {rule}",
        Jsonb({"type": "discard"}),
    )
    return rule


@asynccontextmanager
async def database(books: Books) -> AsyncIterator[Database]:
    settings = Settings(database_url=books.url, database_acquire_timeout_seconds=1)
    async with Database(settings, Aws(settings.aws_region)).opened() as opened:
        yield opened


class Shelf:
    """Answers of a database that are given when the test says so."""

    def __init__(self) -> None:
        self.asked: list[UUID] = []
        self.answers: list[asyncio.Future[Routing]] = []

    async def load(self, account: UUID) -> Routing:
        self.asked.append(account)
        answer: asyncio.Future[Routing] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    async def give(self, number: int, answer: Routing | Exception) -> None:
        await until(lambda: len(self.answers) > number)
        if isinstance(answer, Exception):
            self.answers[number].set_exception(answer)
        else:
            self.answers[number].set_result(answer)


def routing() -> Routing:
    return Routing(compiled([], [], None), {})


async def test_an_account_is_asked_for_once_and_its_providers_with_it(books: Books) -> None:
    provider = books.account({"host": "h"})
    assert provider is not None
    async with database(books) as opened, Routes(Routings(opened).load, FOREVER).running() as routes:
        first = await routes.of(ACCOUNT)
        assert decided(first) == Decision(None, Plan((provider,)))
        add_rule(books)
        assert await routes.of(ACCOUNT) is first
        row = await routes.provider(ACCOUNT, provider)
        assert row is not None
        assert (row.id, row.kind, row.config) == (provider, "smtp", {"host": "h"})
        assert await routes.provider(ACCOUNT, new_id()) is None
        assert await routes.provider(new_id(), provider) is None


async def test_what_has_grown_old_is_given_and_read_again_behind_the_callers_back(books: Books) -> None:
    books.account({"host": "h"})
    async with database(books) as opened, Routes(Routings(opened).load, 0).running() as routes:
        first = await routes.of(ACCOUNT)
        rule = add_rule(books)
        assert await routes.of(ACCOUNT) is first
        await comes_to(routes, Decision(rule, Discard()))


async def comes_to(routes: Routes, decision: Decision) -> None:
    async with asyncio.timeout(20):
        while decided(await routes.of(ACCOUNT)) != decision:  # noqa: ASYNC110 - asking is what makes it come
            await asyncio.sleep(0.01)


async def test_while_the_database_is_away_the_last_that_was_known_goes_on(books: Books) -> None:
    books.account({"host": "h"})
    async with database(books) as opened, Routes(Routings(opened).load, 0).running() as routes:
        rule = add_rule(books)
        first = await routes.of(ACCOUNT)
        assert decided(first) == Decision(rule, Discard())
        await opened.pool.close()
        for notice in (None, Notice("routing", str(ACCOUNT)), None):
            if notice:
                routes.forget(notice)
            assert await routes.of(ACCOUNT) is first
        with pytest.raises(Unavailable):
            await routes.of(new_id())


async def test_whoever_asks_after_a_notice_gets_what_is_new(books: Books, valkey_url: str) -> None:
    books.account({"host": "h"})
    settings = CacheSettings(database_url="postgresql://u@h/d", cache_url=valkey_url)
    heard: list[Notice] = []
    async with (
        database(books) as opened,
        Routes(Routings(opened).load, FOREVER).running() as routes,
        Cache(settings, Aws("eu-central-1")).opened() as cache,
    ):
        subscribed = asyncio.Event()
        async with Listener(cache, [routes.forget, heard.append], subscribed.set, Pace(0.05, 0.2)).running():
            await asyncio.wait_for(subscribed.wait(), 20)
            await routes.of(ACCOUNT)
            for subject in (str(ACCOUNT), "*"):
                rule = add_rule(books)
                books.run("UPDATE routing_rule SET priority = 2 WHERE id <> %s", rule)
                notice = Notice("routing", subject)
                await publish(cache, notice)
                await until(partial(heard.__contains__, notice), 20)
                assert decided(await routes.of(ACCOUNT)) == Decision(rule, Discard())


async def test_notices_of_other_things_change_nothing() -> None:
    shelf = Shelf()
    async with Routes(shelf.load, FOREVER).running() as routes, asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(routes.of(ACCOUNT))
        await shelf.give(0, NOTHING)
        await asked
        routes.forget(Notice("credential", "till"))
        routes.forget(Notice("suppression", str(ACCOUNT)))
        routes.forget(Notice("routing", str(new_id())))
        assert await routes.of(ACCOUNT) is NOTHING.table
        assert shelf.asked == [ACCOUNT]


async def many(routes: Routes, count: int, act: Callable[[], Awaitable[None]]) -> list[Table]:
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(routes.of(ACCOUNT)) for _ in range(count)]
        await act()
    return [each.result() for each in asked]


async def test_those_who_ask_at_the_same_time_share_one_answer() -> None:
    shelf = Shelf()
    async with Routes(shelf.load, FOREVER).running() as routes:
        assert await many(routes, 50, lambda: shelf.give(0, NOTHING)) == [NOTHING.table] * 50
        assert shelf.asked == [ACCOUNT]


async def test_a_caller_that_goes_away_leaves_the_others_their_answer() -> None:
    shelf = Shelf()
    async with Routes(shelf.load, FOREVER).running() as routes, asyncio.TaskGroup() as tasks:
        gone, stays = (tasks.create_task(routes.of(ACCOUNT)) for _ in range(2))
        await until(lambda: shelf.asked)
        gone.cancel()
        await shelf.give(0, NOTHING)
        assert await stays is NOTHING.table
    assert gone.cancelled()


async def test_an_answer_that_may_be_older_than_a_notice_is_asked_for_again() -> None:
    shelf, new = Shelf(), routing()
    async with Routes(shelf.load, FOREVER).running() as routes:

        async def act() -> None:
            await until(lambda: shelf.asked)
            routes.forget(Notice("routing", str(ACCOUNT)))
            await shelf.give(0, NOTHING)
            await shelf.give(1, new)

        assert await many(routes, 1, act) == [new.table]
        assert await routes.of(ACCOUNT) is new.table
        assert shelf.asked == [ACCOUNT, ACCOUNT]


async def test_a_fault_of_any_kind_is_for_those_who_asked_and_ends_nothing() -> None:
    shelf = Shelf()
    async with Routes(shelf.load, FOREVER).running() as routes:
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(refused(routes))
            await shelf.give(0, RuntimeError("a column is missing"))
        assert asked.result() == "a column is missing"
        assert await many(routes, 2, lambda: shelf.give(1, NOTHING)) == [NOTHING.table] * 2


async def refused(routes: Routes) -> str:
    with pytest.raises(Unavailable) as fault:
        await routes.of(ACCOUNT)
    return str(fault.value)


async def test_only_so_many_accounts_are_kept_and_the_one_not_needed_goes_first() -> None:
    asked: list[int] = []

    async def load(account: UUID) -> Routing:
        asked.append(account.int)
        return NOTHING

    async with Routes(load, FOREVER, most=2).running() as routes:
        for number in (1, 2, 1, 3, 1, 2):
            await routes.of(UUID(int=number))
    assert asked == [1, 2, 3, 2]


async def test_the_end_does_not_wait_for_an_answer_that_never_comes() -> None:
    shelf = Shelf()
    async with Routes(shelf.load, 0).running() as routes:
        assert await many(routes, 1, lambda: shelf.give(0, NOTHING)) == [NOTHING.table]
        assert await routes.of(ACCOUNT) is NOTHING.table
        await until(lambda: len(shelf.answers) == 2)
    assert shelf.answers[1].cancelled()
