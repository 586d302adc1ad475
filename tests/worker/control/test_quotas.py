"""What a provider says of itself is asked by one worker, and heeded by all."""

import asyncio
from uuid import UUID

import pytest

from mail.delivery import Outcome, Scope
from mail.errors import Unavailable
from mail.limits import SendQuota
from tests.waiting import until
from tests.worker.control.parts import Fleet, Row, Worker, result
from worker.control.admission import Grant, Refusal

pytestmark = pytest.mark.anyio


class Said:
    """A provider that tells its quota."""

    def __init__(self, quota: SendQuota | None) -> None:
        self.quota = quota
        self.asked: list[UUID] = []
        self.fault: Exception | None = None

    async def __call__(self, provider_id: UUID) -> SendQuota | None:
        self.asked.append(provider_id)
        if self.fault:
            raise self.fault
        return self.quota


async def heard(worker: Worker, row: Row, reason: str) -> Refusal:
    """Wait until something stands against the next attempt."""
    async with asyncio.timeout(30):
        while not isinstance(answer := await worker.admit(row), Refusal) or answer.reason != reason:
            if isinstance(answer, Grant):
                worker.control.give_back(answer)
            await asyncio.sleep(0.005)
    return answer


@pytest.mark.requirement("FLOW-OUT-003")
async def test_a_quota_is_read_once_for_all_and_bounds_all(fleet: Fleet, valkey_url: str) -> None:
    said = Said(SendQuota(rate=1000.0, left=30))
    workers = [await fleet.worker(valkey_url, said) for _ in range(3)]
    row = Row({})
    for worker in workers:
        await worker.granted(row)
    await until(lambda: all(reading(worker) for worker in workers), 30)
    assert said.asked == [row.id]

    sent = 0
    for _ in range(20):
        for worker in workers:
            if isinstance(grant := await worker.admit(row), Grant):
                worker.control.told(grant, [result(Outcome.ACCEPTED)])
                sent += 1
    assert sent == 30
    # It moves with the hours that pass, not with the calendar.
    assert await workers[0].refused(row) == Refusal(60, "daily")
    assert said.asked == [row.id]


def reading(worker: Worker) -> object:
    return [gate.budget.reading for gate in worker.control._gates.values()][0]  # noqa: SLF001, RUF015 - nothing else shows it


@pytest.mark.requirement("FLOW-OUT-003")
async def test_the_rate_that_a_provider_allows_bounds_the_one_configured(fleet: Fleet) -> None:
    worker, row = await fleet.worker("", Said(SendQuota(rate=2.0, left=None)), share=1), Row({"rate": 100})
    await worker.granted(row)
    await until(lambda: reading(worker), 30)
    fleet.clock.now += 100
    assert await worker.spend(row) <= 25 + 2
    fleet.clock.now += 30
    assert await worker.spend(row) == 2


async def test_a_quota_is_read_again_every_minute(fleet: Fleet) -> None:
    said = Said(SendQuota(rate=None, left=0))
    worker, row = await fleet.worker("", said, share=1), Row({})
    await worker.granted(row)
    await heard(worker, row, "daily")
    said.quota = SendQuota(rate=None, left=10)
    fleet.clock.now += 59
    await worker.refused(row)
    assert len(said.asked) == 1
    fleet.clock.now += 1
    await worker.admit(row)
    await until(lambda: len(said.asked) == 2, 30)
    await until(lambda: reading(worker).quota.left == 10, 30)  # type: ignore[attr-defined] # a Reading
    assert await worker.spend(row) == 10


async def test_an_account_that_may_not_send_is_left_alone_until_it_may(fleet: Fleet, valkey_url: str) -> None:
    said = Said(SendQuota(rate=1.0, left=10, enabled=False))
    one, other = await fleet.worker(valkey_url, said), await fleet.worker(valkey_url, said)
    row = Row({})
    await one.granted(row)
    await other.granted(row)
    for worker in (one, other):
        assert (await heard(worker, row, "breaker")).text == "paused"


@pytest.mark.requirement("FLOW-OUT-003")
async def test_a_days_quota_that_is_there_again_is_used_before_the_day_ends(fleet: Fleet) -> None:
    said = Said(SendQuota(rate=10.0, left=0))
    worker, row = await fleet.worker("", said, share=1), Row({})
    await worker.tell(row, Outcome.THROTTLED, scope=Scope.DAY)
    await until(lambda: reading(worker), 30)
    assert (await worker.refused(row)).reason == "breaker"
    said.quota = SendQuota(rate=10.0, left=5)
    fleet.clock.now += 60
    await worker.admit(row)
    async with asyncio.timeout(30):
        while not isinstance(grant := await worker.admit(row), Grant):  # noqa: ASYNC110 - it is there when it is read
            await asyncio.sleep(0.005)
    assert grant.probe


async def test_a_provider_without_a_quota_is_asked_once(fleet: Fleet) -> None:
    said = Said(None)
    worker, row = await fleet.worker("", said), Row({})
    await worker.granted(row)
    await until(lambda: said.asked, 30)
    other = Row({})
    fleet.clock.now += 120
    await worker.granted(row)
    await worker.granted(other)
    await until(lambda: other.id in said.asked, 30)
    assert said.asked == [row.id, other.id]


async def test_a_quota_that_cannot_be_read_stops_no_mail(fleet: Fleet) -> None:
    said = Said(None)
    said.fault = Unavailable("SES GetAccount: AccessDenied")
    worker, row = await fleet.worker("", said), Row({})
    await worker.granted(row)
    await until(lambda: said.asked, 30)
    await worker.granted(row, 1000)
