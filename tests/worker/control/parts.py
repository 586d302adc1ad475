"""What tests of the control set up: a clock that stands still, providers, and workers that share a cache."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

from prometheus_client import CollectorRegistry

from backing.aws import Aws
from backing.cache import Cache, Pace
from backing.ids import new_id
from backing.metrics import WorkerControlMetrics
from backing.settings import CacheSettings
from mail.delivery import Outcome, RecipientResult, Scope
from tests.waiting import until
from worker.control.admission import Admission, Grant, Refusal
from worker.control.control import Control, Rules, no_quota
from worker.control.quota import QuotaSource

QUICK = Pace(first=0.02, longest=0.08, pulse=0.05)
# 2027-01-15 08:00 UTC.
MORNING = 1_800_000_000.0
ANY = new_id()


@dataclass
class Clock:
    """Time that passes when a test says so."""

    now: float = MORNING

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Row:
    """A provider."""

    limits: Mapping[str, Any]
    id: UUID = field(default_factory=new_id)
    name: str = "main"
    version: int = 1


@dataclass(frozen=True)
class Worker:
    """One worker's control, its cache, and what it counts."""

    control: Control
    cache: Cache
    registry: CollectorRegistry

    async def admit(self, row: Row, recipients: int = 1, account: UUID = ANY, patience: float = 0) -> Admission:
        return await self.control.admit(row, account, recipients, patience)

    async def granted(self, row: Row, recipients: int = 1) -> Grant:
        answer = await self.admit(row, recipients)
        assert isinstance(answer, Grant), answer
        return answer

    async def refused(self, row: Row, recipients: int = 1) -> Refusal:
        answer = await self.admit(row, recipients)
        assert isinstance(answer, Refusal), answer
        return answer

    async def tell(self, row: Row, outcome: Outcome, times: int = 1, **more: Any) -> None:
        """Make attempts that come to the same."""
        for grant in [await self.granted(row) for _ in range(times)]:
            self.control.told(grant, [result(outcome, **more)])

    async def spend(self, row: Row) -> int:
        """Send as much as may be sent now; gives how much that was."""
        count = 0
        while isinstance(grant := await self.admit(row), Grant):
            self.control.told(grant, [result(Outcome.ACCEPTED)])
            count += 1
        return count

    def seen(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def result(
    outcome: Outcome, n: int = 0, *, retry_after: float | None = None, scope: Scope | None = None
) -> RecipientResult:
    return RecipientResult(n, outcome, None, None, "", retry_after, scope)


class Fleet:
    """Workers that run until the test ends."""

    def __init__(self, stack: AsyncExitStack, clock: Clock) -> None:
        self._stack = stack
        self.clock = clock

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[Self]:
        async with AsyncExitStack() as stack:
            yield cls(stack, Clock())

    async def worker(
        self,
        url: str,
        source: QuotaSource = no_quota,
        *,
        share: float = 0.25,
        weight: Callable[[UUID], float] = lambda _: 1.0,
    ) -> Worker:
        settings = CacheSettings(database_url="postgresql://app@127.0.0.1:1/none", cache_url=url)
        cache = await self._stack.enter_async_context(Cache(settings, Aws("eu-central-1"), pace=QUICK).opened())
        registry = CollectorRegistry()
        control = Control(cache, WorkerControlMetrics(registry), source, Rules(share, 0.02, weight), self.clock)
        return Worker(await self._stack.enter_async_context(control.running()), cache, registry)


async def comes(look: Callable[[], float | None], value: float) -> None:
    """Wait until a metric shows a value."""
    await until(lambda: look() == value, 30)
