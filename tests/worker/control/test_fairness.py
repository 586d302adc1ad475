"""Where there is too little for all, each account gets its part, however much another one has waiting."""

import asyncio
from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backing.ids import new_id
from mail.delivery import Outcome
from tests.waiting import until
from tests.worker.control.parts import Fleet, Row, Worker, result
from worker.control.admission import Grant
from worker.control.fair import FairQueue

pytestmark = pytest.mark.anyio
FLOOD, SMALL = UUID(int=1), UUID(int=2)
ACCOUNTS = [UUID(int=n) for n in range(1, 5)]


def equal(_account_id: UUID) -> float:
    return 1.0


async def test_a_flood_does_not_hold_up_an_account_that_sends_little(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"rate": 1})
    assert await worker.spend(row) == 1
    order: list[UUID] = []
    async with asyncio.TaskGroup() as tasks:
        for account in [FLOOD] * 30 + [SMALL] * 3:
            tasks.create_task(note(worker, row, account, order))
        await until(lambda: waiting(worker) == 33)
        for _ in range(33):
            before = len(order)
            fleet.clock.now += 1
            await until(lambda n=before: len(order) > n, 30)  # type: ignore[misc] # bound in the loop
    assert Counter(order) == {FLOOD: 30, SMALL: 3}
    assert order[:6].count(SMALL) == 3


def waiting(worker: Worker) -> int:
    [gate] = worker.control._gates.values()  # noqa: SLF001 - nothing else shows who waits
    return sum(1 for _ in gate._queue)  # noqa: SLF001


async def note(worker: Worker, row: Row, account: UUID, order: list[UUID]) -> None:
    grant = await worker.admit(row, account=account, patience=100)
    assert isinstance(grant, Grant)
    order.append(account)
    worker.control.told(grant, [result(Outcome.ACCEPTED)])


async def test_a_place_goes_to_the_account_whose_turn_it_is(fleet: Fleet) -> None:
    worker, row = await fleet.worker(""), Row({"concurrency": 1})
    first = await worker.granted(row)
    order: list[UUID] = []
    async with asyncio.TaskGroup() as tasks:
        for account in [FLOOD] * 10 + [SMALL]:
            tasks.create_task(note(worker, row, account, order))
        await until(lambda: waiting(worker) == 11)
        worker.control.told(first, [result(Outcome.ACCEPTED)])
    assert order.index(SMALL) <= 1


@given(st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.integers(1, 50)), min_size=1, max_size=60))
def test_nothing_is_lost_and_accounts_that_wait_differ_by_one_message(entries: list[tuple[UUID, int]]) -> None:
    queue: FairQueue[int] = FairQueue(equal)
    for n, (account, cost) in enumerate(entries):
        queue.add(account, cost, n)
    left, given_to, taken = Counter(account for account, _ in entries), Counter[UUID](), []
    while queue:
        waiting_now = [account for account in left if left[account]]
        served = [given_to[account] for account in waiting_now]
        assert max(served) - min(served) <= 50
        first = queue.first()
        assert queue.take() == first
        taken.append(first)
        account, cost = entries[first]
        given_to[account] += cost
        left[account] -= 1
    assert sorted(taken) == list(range(len(entries)))
    for account in ACCOUNTS:
        own = [n for n in taken if entries[n][0] == account]
        assert own == sorted(own), "in an account, who came first is served first"


def test_weights_are_shares() -> None:
    queue: FairQueue[UUID] = FairQueue(lambda account: 3.0 if account == FLOOD else 1.0)
    for account in [FLOOD, SMALL] * 40:
        queue.add(account, 1, account)
    assert Counter(queue.take() for _ in range(40)) == {FLOOD: 30, SMALL: 10}


def test_nobody_saves_up_turns_and_nobody_sheds_what_it_got() -> None:
    queue: FairQueue[UUID] = FairQueue(equal)
    for _ in range(20):
        queue.add(FLOOD, 1, FLOOD)
    assert [queue.take() for _ in range(10)] == [FLOOD] * 10
    for _ in range(10):
        queue.add(SMALL, 1, SMALL)
    assert Counter(queue.take() for _ in range(10)) == {FLOOD: 5, SMALL: 5}


def test_what_is_dropped_is_not_served() -> None:
    queue: FairQueue[object] = FairQueue(equal)
    one, other = object(), object()
    queue.add(FLOOD, 1, one)
    queue.add(FLOOD, 1, other)
    queue.drop(FLOOD, one)
    queue.drop(SMALL, one)
    queue.drop(new_id(), other)
    assert (list(queue), queue.take(), bool(queue)) == ([other], other, False)
