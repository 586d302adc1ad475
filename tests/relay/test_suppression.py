"""Suppressed recipients: known at the door without asking for every other one."""

from functools import partial
from uuid import UUID

import pytest

from mail.errors import Reply
from relay.policy.suppression import ASK_AGAIN_SECONDS, FRESH_SECONDS, Bounds, SuppressionLists
from tests.relay.doors import Clock
from tests.relay.house import until
from tests.relay.lists import Lists

pytestmark = pytest.mark.anyio

SHOP, BAKERY = UUID(int=1), UUID(int=2)
LATER = 10


async def test_a_suppressed_recipient_is_refused_with_the_date_and_the_others_cost_no_question() -> None:
    lists = Lists({SHOP: ["bob@b.example", "carol@c.example"]})
    async with SuppressionLists(lists, Clock()).running() as suppressed:
        # The first one waits for the list.
        refusal = Reply(550, "5.1.1", "bob@b.example suppressed since 2026-11-01 (bounce)")
        assert await suppressed.objection(SHOP, "bob@b.example") == refusal
        assert lists.asked == ["hashes", "find"]
        lists.asked.clear()
        for n in range(100):
            assert await suppressed.objection(SHOP, f"{n}@b.example") is None
        assert await suppressed.objection(BAKERY, "bob@b.example") is None
        again = await suppressed.objection(SHOP, "BOB@b.example")
        assert again == Reply(550, "5.1.1", "BOB@b.example suppressed since 2026-11-01 (bounce)")
        assert [asked for asked in lists.asked if asked != "hashes"] == ["find"]


async def test_a_list_in_use_is_read_on_as_it_grows() -> None:
    lists, clock = Lists({SHOP: ["a@b.example"]}), Clock()
    async with SuppressionLists(lists, clock).running() as suppressed:
        suppressed.watch(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "a@b.example"))
        lists.addresses[SHOP].append("b@b.example")
        # A notice says so, or its time is over.
        suppressed.refresh(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "b@b.example"))
        lists.addresses[SHOP].append("c@b.example")
        assert not suppressed.suspects(SHOP, "c@b.example")
        clock.now += FRESH_SECONDS
        await until(lambda: suppressed.suspects(SHOP, "c@b.example"))
        lists.addresses[SHOP].append("d@b.example")
        suppressed.refresh_all()
        await until(lambda: suppressed.suspects(SHOP, "d@b.example"))
        assert lists.asked == ["hashes", "later", "later", "later"]
        # What nobody uses is not asked for.
        suppressed.refresh(BAKERY)
        clock.now += 10 * FRESH_SECONDS
        assert lists.asked == ["hashes", "later", "later", "later"]


async def test_a_list_that_grew_much_is_read_as_a_whole() -> None:
    lists = Lists({SHOP: ["a@b.example"]})
    async with SuppressionLists(lists, Clock(), Bounds(later=LATER)).running() as suppressed:
        suppressed.watch(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "a@b.example"))
        lists.addresses[SHOP] += [f"{n}@b.example" for n in range(LATER)]
        suppressed.refresh(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "9@b.example"))
        assert lists.asked == ["hashes", "later", "hashes"]
        assert all(suppressed.suspects(SHOP, address) for address in lists.addresses[SHOP])


async def test_what_was_taken_off_a_list_passes() -> None:
    lists = Lists({SHOP: ["a@b.example"]})
    async with SuppressionLists(lists, Clock()).running() as suppressed:
        suppressed.watch(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "a@b.example"))
        lists.addresses[SHOP].clear()
        assert await suppressed.objection(SHOP, "a@b.example") is None
        assert lists.asked == ["hashes", "find"]


@pytest.mark.parametrize("trouble", ["down", "silent"])
async def test_a_database_that_is_away_lets_mail_pass_and_is_left_alone(trouble: str) -> None:
    lists, clock = Lists({SHOP: ["a@b.example"]}), Clock()
    async with SuppressionLists(lists, clock, Bounds(confirm_seconds=0.05)).running() as suppressed:
        suppressed.watch(SHOP)
        await until(lambda: suppressed.suspects(SHOP, "a@b.example"))
        setattr(lists, trouble, True)
        for _ in range(5):
            assert await suppressed.objection(SHOP, "a@b.example") is None
        assert lists.asked == ["hashes", "find"]
        setattr(lists, trouble, False)
        clock.now += ASK_AGAIN_SECONDS
        assert await suppressed.objection(SHOP, "a@b.example") is not None


async def test_a_list_that_could_not_be_read_is_read_later() -> None:
    lists, clock = Lists({SHOP: ["a@b.example"]}, down=True), Clock()
    async with SuppressionLists(lists, clock).running() as suppressed:
        suppressed.watch(SHOP)
        await until(lambda: lists.asked == ["hashes"])
        lists.down = False
        assert not suppressed.suspects(SHOP, "a@b.example")
        clock.now += FRESH_SECONDS
        await until(lambda: suppressed.suspects(SHOP, "a@b.example"))


async def test_lists_that_were_not_used_for_longest_make_room() -> None:
    lists = Lists({UUID(int=n): [f"{k}@{n}.example" for k in range(4)] for n in range(3)})
    clock = Clock()
    async with SuppressionLists(lists, clock, Bounds(hashes=8)).running() as suppressed:
        for n in range(3):
            clock.now += 1
            suppressed.watch(UUID(int=n))
            await until(partial(suppressed.suspects, UUID(int=n), f"0@{n}.example"))
        assert suppressed.suspects(UUID(int=1), "0@1.example")
        assert suppressed.suspects(UUID(int=2), "0@2.example")
        assert not suppressed.suspects(UUID(int=0), "0@0.example")


async def test_the_first_recipient_of_an_account_waits_for_its_list_but_not_for_long() -> None:
    lists = Lists({SHOP: ["a@b.example"]}, silent=True)
    async with SuppressionLists(lists, Clock(), Bounds(first_seconds=0.05)).running() as suppressed:
        assert await suppressed.objection(BAKERY, "a@b.example") is None
    assert lists.asked == ["hashes"]
