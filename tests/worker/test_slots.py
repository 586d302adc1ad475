import asyncio

import pytest

from worker.slots import Slots

pytestmark = pytest.mark.anyio


async def test_places_are_taken_in_one_go_and_at_least_one() -> None:
    slots = Slots(12)
    assert await slots.take(10) == 10
    assert await slots.take(10) == 2
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(slots.take(10))
        await asyncio.sleep(0)
        assert not taking.done()
        slots.give(1)
    assert taking.result() == 1
    slots.give(12)
    await slots.all_free()


async def test_a_small_worker_takes_what_it_has() -> None:
    assert await Slots(3).take(10) == 3


async def test_places_are_added_and_taken_away_while_some_are_in_hand() -> None:
    slots = Slots(2)
    assert await slots.take(10) == 2
    slots.resize(5)
    assert await slots.take(10) == 3
    slots.resize(1)
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(slots.take(10))
        slots.give(4)
        await asyncio.sleep(0)
        assert not taking.done(), "five were in hand, and one may be"
        slots.give(1)
    assert taking.result() == 1
    slots.give(1)
    await slots.all_free()
