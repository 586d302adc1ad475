"""Workers share a provider's rate and day, slow down together, and keep to less while the cache is away."""

import asyncio
import math

import pytest

from mail.delivery import Outcome, Scope
from tests.valkey import Valkey
from tests.waiting import until
from tests.worker.control.parts import MORNING, Fleet, Row, comes, result
from worker.control.admission import Grant, Refusal

pytestmark = pytest.mark.anyio
DAY_ENDS = MORNING + 16 * 3600


async def test_a_provider_without_limits_takes_anything(fleet: Fleet) -> None:
    worker, row = await fleet.worker(""), Row({})
    grants = [await worker.granted(row, 50) for _ in range(1000)]
    assert grants[0] == Grant(row.id, 1, 50)
    for grant in grants:
        worker.control.told(grant, [result(Outcome.ACCEPTED)])


async def test_two_workers_share_one_rate(fleet: Fleet, valkey_url: str) -> None:
    workers = [await fleet.worker(valkey_url) for _ in range(2)]
    row, sent = Row({"rate": 20, "burst": 30}), 0
    for second in range(11):
        fleet.clock.now = MORNING + second
        for worker in workers:
            sent += await worker.spend(row)
    # A full bucket, and ten seconds. What one has leased and not used, at most a slice, may still be its own.
    assert 230 - 2 * 5 <= sent <= 230


async def test_what_was_leased_and_not_used_is_another_workers(fleet: Fleet, valkey_url: str) -> None:
    one, other = await fleet.worker(valkey_url), await fleet.worker(valkey_url)
    row = Row({"rate": 20})
    await one.granted(row)
    counted = 0
    async with asyncio.timeout(30):
        while counted < 19:
            counted += await other.spend(row)
            await asyncio.sleep(0.01)
    assert counted == 19


async def test_a_grant_that_was_not_used_is_as_if_it_had_not_been(fleet: Fleet, valkey_url: str) -> None:
    worker = await fleet.worker(valkey_url)
    row = Row({"rate": 0.001, "burst": 1, "daily": 1, "concurrency": 1})
    grant = await worker.granted(row)
    assert await worker.refused(row) == Refusal(1.0, "concurrency")
    worker.control.give_back(grant)
    worker.control.told(await worker.granted(row), [result(Outcome.ACCEPTED)])
    assert await worker.refused(row) == Refusal(DAY_ENDS - MORNING, "daily")


async def test_a_message_larger_than_the_bucket_is_paid_for_afterwards(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"rate": 10})
    worker.control.told(await worker.granted(row, 50), [result(Outcome.ACCEPTED)])
    fleet.clock.now += 3.9
    for _ in range(10):
        assert (await worker.refused(row)).reason == "rate"
    for _ in range(20):
        fleet.clock.now += 0.5
        await worker.spend(row)
    fleet.clock.now += 60
    assert await worker.spend(row) == 10


async def test_one_waits_for_tokens_that_come_soon_but_not_for_those_that_do_not(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"rate": 1})
    assert await worker.spend(row) == 1
    assert await worker.admit(row, patience=0.5) == Refusal(1.0, "rate")
    assert worker.seen("worker_provider_refusals_total", provider="main", reason="rate") == 2

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(worker.admit(row, patience=60))
        await asyncio.sleep(0)
        fleet.clock.now += 1.5
    assert waiting.result() == Grant(row.id, 1, 1)
    assert worker.seen("worker_provider_waited_seconds_total", provider="main") == 1.5


async def test_whoever_is_cancelled_while_waiting_takes_nothing(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"concurrency": 1})
    first = await worker.granted(row)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(worker.admit(row, patience=60)) for _ in range(2)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        worker.control.told(first, [result(Outcome.ACCEPTED)])
        granted = await waiting[1]
    assert waiting[0].cancelled()
    assert granted == Grant(row.id, 1, 1)
    assert (await worker.refused(row)).reason == "concurrency"


async def test_a_day_is_shared_whole_and_comes_back_with_the_next(fleet: Fleet, valkey_url: str) -> None:
    workers = [await fleet.worker(valkey_url) for _ in range(3)]
    row, sent = Row({"daily": 1000}), 0
    for _ in range(400):
        for worker in workers:
            if isinstance(grant := await worker.admit(row), Grant):
                worker.control.told(grant, [result(Outcome.ACCEPTED)])
                sent += 1
    assert 1000 - 3 <= sent <= 1000
    assert await workers[0].refused(row) == Refusal(DAY_ENDS - MORNING, "daily")
    fleet.clock.now = DAY_ENDS
    assert await workers[0].spend(row) == 1000


async def test_what_a_provider_did_not_take_does_not_count_for_its_day(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"daily": 2})
    results = [result(Outcome.ACCEPTED, 0), result(Outcome.PROVIDER_DOWN, 1)]
    worker.control.told(await worker.granted(row, 2), results)
    assert await worker.spend(row) == 1


async def test_a_warm_up_bounds_the_day(fleet: Fleet, valkey_url: str) -> None:
    worker = await fleet.worker(valkey_url)
    row = Row({"warm_up": {"start": "2027-01-15", "first": 4, "growth": 2, "days": 2}})
    assert await worker.spend(row) == 4
    fleet.clock.now = DAY_ENDS
    assert await worker.spend(row) == 8
    fleet.clock.now = DAY_ENDS + 86_400
    for _ in range(100):
        await worker.granted(row)


@pytest.mark.requirement("EC-3")
async def test_a_day_that_the_cache_forgot_is_told_to_it_again(own_valkey: Valkey, fleet: Fleet) -> None:
    worker, row = await fleet.worker(own_valkey.url), Row({"daily": 500})
    for _ in range(300):
        await worker.granted(row)
    own_valkey.say("FLUSHALL")
    assert await worker.spend(row) == 200
    other = await fleet.worker(own_valkey.url)
    assert await other.refused(row) == Refusal(DAY_ENDS - MORNING, "daily")


@pytest.mark.requirement("EC-3")
async def test_without_the_cache_each_worker_keeps_to_its_share_and_comes_back(
    own_valkey: Valkey, fleet: Fleet
) -> None:
    workers = [await fleet.worker(own_valkey.url, share=0.25) for _ in range(2)]
    row = Row({"rate": 40, "daily": 100_000})
    assert sum([await worker.spend(row) for worker in workers]) == 40

    own_valkey.kill()
    await until(lambda: not any(worker.cache.up for worker in workers), 30)
    sent = [0, 0]
    for tenth in range(100):
        fleet.clock.now = MORNING + 1 + tenth / 10
        for n, worker in enumerate(workers):
            sent[n] += await worker.spend(row)
    for count in sent:
        assert 10 * 9 <= count <= 10 * 11 + 10

    own_valkey.start()
    await until(lambda: all(worker.cache.up for worker in workers), 30)
    fleet.clock.now += 10
    assert 40 <= sum([await worker.spend(row) for worker in workers]) <= 40 + 2 * 10


async def test_without_the_cache_a_day_has_a_share_as_well(fleet: Fleet) -> None:
    worker, row = await fleet.worker("", share=0.25), Row({"daily": 1000})
    assert await worker.spend(row) == 250


async def test_a_throttle_slows_all_workers_and_wears_off(fleet: Fleet, valkey_url: str) -> None:
    one, other = await fleet.worker(valkey_url), await fleet.worker(valkey_url)
    row = Row({"rate": 100, "burst": 1})
    await other.spend(row)
    fleet.clock.now += 1
    await one.tell(row, Outcome.THROTTLED, scope=Scope.RATE)
    labels = {"provider": "main", "id": str(row.id)}
    for worker in (one, other):
        await comes(lambda w=worker: w.seen("worker_provider_learned_rate", **labels), 70)  # type: ignore[misc] # bound
    assert one.seen("worker_provider_throttles_total", provider="main", scope="rate") == 1
    fleet.clock.now += 100
    await other.granted(row)
    await until(lambda: math.isnan(other.seen("worker_provider_learned_rate", **labels) or 0), 30)


async def test_a_provider_without_a_rate_teaches_one(fleet: Fleet) -> None:
    worker, row = await fleet.worker("", share=0.5), Row({})
    for _ in range(100):
        await worker.granted(row)
    await worker.tell(row, Outcome.THROTTLED, scope=Scope.RATE)
    # 101 at once, of two workers as far as is known.
    learned = worker.seen("worker_provider_learned_rate", provider="main", id=str(row.id))
    assert learned == pytest.approx(202 * 0.7)
    fleet.clock.now += 1000
    assert len([await worker.granted(row) for _ in range(1000)]) == 1000


async def test_a_provider_that_wants_a_pause_gets_it(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"rate": 100})
    await worker.tell(row, Outcome.THROTTLED, retry_after=30, scope=Scope.RATE)
    assert await worker.refused(row) == Refusal(30, "rate")
    assert await worker.admit(row, patience=5) == Refusal(30, "rate")
    fleet.clock.now += 30
    await worker.granted(row)


async def test_limits_that_cannot_be_read_stop_nothing_but_their_provider(fleet: Fleet) -> None:
    worker, row = await fleet.worker(""), Row({"rate": -1})
    assert await worker.refused(row) == Refusal(
        900, "limits", "rate is -1; it needs to be a number above 0 and up to 1e+06"
    )
    await worker.granted(Row({"rate": 1}, row.id, version=2))
    await worker.granted(Row({}))
