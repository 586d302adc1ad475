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
