"""What one worker finds out about a provider all workers heed, with one probe among them."""

import asyncio

import pytest
from structlog.testing import capture_logs

from mail.breaker import ELSEWHERE_SECONDS
from mail.delivery import Outcome, Scope
from tests.valkey import Valkey
from tests.waiting import until
from tests.worker.control.parts import MORNING, Fleet, Row, Worker, comes, result
from worker.control.admission import Grant, Refusal

pytestmark = pytest.mark.anyio


def breaker(worker: Worker, row: Row) -> float | None:
    return worker.seen("worker_provider_breaker", provider=row.name, id=str(row.id))


async def test_a_provider_that_one_finds_down_is_left_alone_by_all(fleet: Fleet, valkey_url: str) -> None:
    one, other = await fleet.worker(valkey_url), await fleet.worker(valkey_url)
    row = Row({})
    await other.granted(row)
    with capture_logs() as lines:
        await one.tell(row, Outcome.PROVIDER_DOWN, times=5)
        assert await one.refused(row) == Refusal(10, "breaker", "down")
        await comes(lambda: breaker(other, row), 2)
    assert await other.refused(row) == Refusal(10, "breaker", "down")
    assert [(line["event"], line["cause"], line["seconds"]) for line in lines] == [("provider left alone", "down", 10)]
    await one.granted(Row({}))


async def test_a_worker_that_starts_hears_of_it(fleet: Fleet, valkey_url: str) -> None:
    one, row = await fleet.worker(valkey_url), Row({})
    await one.tell(row, Outcome.MISCONFIGURED)
    other = await fleet.worker(valkey_url)
    await other.admit(row)
    await comes(lambda: breaker(other, row), 2)
    assert await other.refused(row) == Refusal(900, "breaker", "misconfigured")


async def test_one_probe_over_all_workers_decides_for_all(fleet: Fleet, valkey_url: str) -> None:
    workers = [await fleet.worker(valkey_url) for _ in range(3)]
    row = Row({})
    for worker in workers:
        await worker.granted(row)
    await workers[0].tell(row, Outcome.PROVIDER_DOWN, times=5)
    for worker in workers:
        await comes(lambda w=worker: breaker(w, row), 2)  # type: ignore[misc] # bound in the loop

    fleet.clock.now += 10
    answers = [await worker.admit(row) for worker in workers for _ in range(2)]
    probes = [answer for answer in answers if isinstance(answer, Grant)]
    assert probes == [Grant(row.id, 1, 1, probe=True)]
    assert isinstance(answers[0], Grant)
    assert {a.seconds for a in answers if isinstance(a, Refusal)} == {ELSEWHERE_SECONDS}

    workers[0].control.told(probes[0], [result(Outcome.PROVIDER_DOWN)])
    assert await workers[0].refused(row) == Refusal(20, "breaker", "down")
    fleet.clock.now += 20
    probe = await workers[0].granted(row)
    with capture_logs() as lines:
        workers[0].control.told(probe, [result(Outcome.ACCEPTED)])
    assert [line["event"] for line in lines] == ["provider used again"]
    for worker in workers:
        await comes(lambda w=worker: breaker(w, row), 0)  # type: ignore[misc] # bound in the loop
        await worker.granted(row)


async def test_a_probe_that_was_not_sent_is_another_workers(fleet: Fleet, valkey_url: str) -> None:
    one, other = await fleet.worker(valkey_url), await fleet.worker(valkey_url)
    row = Row({})
    await other.granted(row)
    await one.tell(row, Outcome.PROVIDER_DOWN, times=5)
    await comes(lambda: breaker(other, row), 2)
    fleet.clock.now += 10
    probe = await one.granted(row)
    assert probe.probe
    one.control.give_back(probe)

    async def others_probe() -> bool:
        fleet.clock.now += ELSEWHERE_SECONDS
        return isinstance(await other.admit(row), Grant)

    granted = False
    for _ in range(1000):
        granted = granted or await others_probe()
        if granted:
            break
        await until(lambda: other.cache.up)
    assert granted


async def test_a_probe_for_which_there_are_no_tokens_is_put_off(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"concurrency": 5})
    grants = [await worker.granted(row) for _ in range(5)]
    for grant in grants[:4]:
        worker.control.told(grant, [result(Outcome.PROVIDER_DOWN)])
    await worker.tell(row, Outcome.PROVIDER_DOWN)
    held = Row({"concurrency": 1}, row.id, version=2)
    fleet.clock.now += 10
    assert (await worker.refused(held)).reason == "concurrency"
    worker.control.told(grants[4], [result(Outcome.UNKNOWN)])
    fleet.clock.now += 1
    assert await worker.admit(held) == Grant(row.id, 2, 1, probe=True)


async def test_a_new_version_of_a_configuration_is_tried_at_once(fleet: Fleet, valkey_url: str) -> None:
    one, other = await fleet.worker(valkey_url), await fleet.worker(valkey_url)
    row = Row({})
    late = await one.granted(row)
    await other.granted(row)
    await one.tell(row, Outcome.MISCONFIGURED)
    await comes(lambda: breaker(other, row), 2)
    mended = Row({}, row.id, version=2)
    fleet.clock.now += 1
    await one.granted(mended)
    one.control.told(late, [result(Outcome.MISCONFIGURED)])
    await one.granted(mended)
    assert (await one.granted(row)).version == 1, "of a message that was claimed before the change"
    await comes(lambda: breaker(other, row), 0)


async def test_a_quota_of_the_day_is_waited_for(fleet: Fleet, valkey_url: str) -> None:
    worker, row = await fleet.worker(valkey_url), Row({"rate": 10})
    await worker.tell(row, Outcome.THROTTLED, scope=Scope.DAY)
    assert await worker.refused(row) == Refusal(16 * 3600, "breaker", "exhausted")
    assert worker.seen("worker_provider_throttles_total", provider="main", scope="day") == 1
    fleet.clock.now = MORNING + 16 * 3600
    assert (await worker.granted(row)).probe


@pytest.mark.requirement("EC-3")
async def test_without_the_cache_each_worker_finds_out_by_itself(own_valkey: Valkey, fleet: Fleet) -> None:
    one, other = await fleet.worker(own_valkey.url), await fleet.worker(own_valkey.url)
    row = Row({})
    own_valkey.kill()
    await until(lambda: not (one.cache.up or other.cache.up), 30)
    await one.tell(row, Outcome.PROVIDER_DOWN, times=5)
    assert await one.refused(row) == Refusal(10, "breaker", "down")
    await other.granted(row)
    fleet.clock.now += 1
    own_valkey.start()
    await comes(lambda: breaker(other, row), 2)
    fleet.clock.now += 9

    own_valkey.kill()
    await until(lambda: not (one.cache.up or other.cache.up), 30)
    assert (await one.granted(row)).probe
    assert (await other.granted(row)).probe


async def test_whoever_waits_is_told_when_the_provider_goes_down(fleet: Fleet) -> None:
    worker, row = await fleet.worker(""), Row({"concurrency": 5})
    grants = [await worker.granted(row) for _ in range(5)]
    for grant in grants[:4]:
        worker.control.told(grant, [result(Outcome.PROVIDER_DOWN)])
    for _ in range(4):
        await worker.granted(row)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(worker.admit(row, patience=60))
        await asyncio.sleep(0.02)
        worker.control.told(grants[4], [result(Outcome.PROVIDER_DOWN)])
    assert waiting.result() == Refusal(10, "breaker", "down")


async def test_being_told_never_raises(fleet: Fleet) -> None:
    worker, row = await fleet.worker(""), Row({})
    worker.control.told(Grant(row.id, 1, 1), [result(Outcome.ACCEPTED)])
    worker.control.give_back(Grant(row.id, 1, 1))
    grant = await worker.granted(row)
    with capture_logs() as lines:
        worker.control.told(grant, [None])  # type: ignore[list-item] # what it must survive
    assert [line["event"] for line in lines] == ["outcome not learned from"]
    await worker.granted(row)
