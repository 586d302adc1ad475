"""The control over providers: how fast, how much and whether at all, together with the other workers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from time import time
from typing import Any, Final
from uuid import UUID

import structlog

from backing.cache import Cache
from backing.metrics import WorkerControlMetrics
from mail.delivery import RecipientResult
from mail.errors import Unavailable
from worker.control.admission import Admission, Grant, Provided, Refusal
from worker.control.board import Board
from worker.control.gate import Attempt, Gate
from worker.control.quota import Quotas, QuotaSource

# A provider is heard of while it is in use, and remembered for a while after.
_IN_USE_SECONDS: Final = 60.0
_FORGET_SECONDS: Final = 3600.0
_LAST_SECONDS: Final = 1.0
# Where much happens at once, it is told at once.
_GATHER_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Rules:
    """How the control works.

    Attributes:
        share: the part of every limit that one worker takes for itself while the cache is away.
        every: seconds between looks at what the other workers found.
        weight: an account's share beside that of others where there is too little for all.
    """

    share: float = 0.25
    every: float = 1.0
    weight: Callable[[UUID], float] = lambda _account_id: 1.0


async def no_quota(_provider_id: UUID) -> None:
    """The quota source of providers that tell none."""


class Control:
    """Admits attempts at providers, and learns from what came of them.

    All workers share a provider's rate, its day and its breaker through the cache. While the cache is away each of
    them keeps to a share of its own and to what it finds itself.

    Args:
        cache: where the workers meet.
        metrics: what is counted.
        source: asks a provider for its own quota.
        rules: how it works.
        clock: Unix time.
    """

    def __init__(
        self,
        cache: Cache,
        metrics: WorkerControlMetrics,
        source: QuotaSource = no_quota,
        rules: Rules | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._rules = rules or Rules()
        self._clock = clock
        self._metrics = metrics
        self._board = Board(cache, metrics, clock)
        self._quotas = Quotas(self._board, source)
        self._gates: dict[UUID, Gate] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Control"]:
        """Exchange with the other workers until the block ends; what was not used is theirs then."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            own = [tasks.create_task(each) for each in (self._exchange(), self._tidy(), self._read_quotas())]
            try:
                yield self
            finally:
                self._tasks = None
                for task in own:
                    task.cancel()
        with suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._board.write()
                for gate in self._gates.values():
                    await gate.put_back()

    async def admit(self, provider: Provided, account_id: UUID, recipients: int, patience: float) -> Admission:
        """Say whether an attempt may be made now.

        Args:
            provider: the provider as the message's claim read it.
            account_id: whose mail it is.
            recipients: of the attempt.
            patience: seconds to wait at most, for what comes within them.

        Returns:
            a Grant, after which `told` or `give_back` is called once; or a Refusal.
        """
        now = self._clock()
        gate = self._gates.get(provider.id)
        if gate is None or gate.version < provider.version:
            gate = self._configured(provider, now)
        gate.used_at = now
        if gate.refusal is None and gate.health.closed:
            grant = gate.pass_now(recipients, provider.version, now)
            if grant:
                return grant
        answer = gate.refusal or await self._settled(
            gate, Attempt(account_id, recipients, provider.version, not gate.health.closed), patience
        )
        if isinstance(answer, Refusal):
            self._metrics.refusals.labels(gate.name, answer.reason).inc()
        return answer

    def told(self, grant: Grant, results: Sequence[RecipientResult]) -> None:
        """Take in what came of an attempt; never raises, never waits."""
        try:
            gate = self._gates.get(grant.provider_id)
            if gate:
                gate.told(grant, results, self._clock())
        except Exception:  # noqa: BLE001 - logged; a fault of the control may not change a message's fate
            self._log.exception("outcome not learned from", provider_id=str(grant.provider_id))

    def give_back(self, grant: Grant) -> None:
        """Take a grant back that was not used."""
        gate = self._gates.get(grant.provider_id)
        if gate:
            gate.give_back(grant)

    async def _settled(self, gate: Gate, attempt: Attempt, patience: float) -> Admission:
        """Wait for what an attempt lacks, or for leave to be the probe of a provider that was left alone."""
        began = self._clock()
        if attempt.probe and not await gate.health.may_probe(began):
            return gate.health.refusal(self._clock())
        answer: Admission | None = None
        try:
            answer = await gate.wait(attempt, patience, self._start)
        finally:
            if attempt.probe and not isinstance(answer, Grant):
                gate.health.put_off(self._clock())
        if isinstance(answer, Grant):
            self._metrics.waited.labels(gate.name).inc(max(self._clock() - began, 0.0))
        return answer

    def _configured(self, provider: Provided, now: float) -> Gate:
        gate = self._gates.get(provider.id)
        if gate is None:
            gate = self._gates[provider.id] = Gate(provider, self._board, self._rules.share, self._rules.weight)
            self._board.news.set()
        gate.configure(provider, now)
        if gate.refusal:
            self._log.error("provider's limits cannot be read", provider=gate.name, reason=gate.refusal.text)
        return gate

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("the control is not running")
        self._tasks.create_task(work)

    async def _exchange(self) -> None:
        while True:
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - the loop's edge: mail goes on without the others' word
                self._log.exception("exchange between workers failed")
            await asyncio.sleep(_GATHER_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._rules.every):
                    await self._board.news.wait()

    async def _round(self) -> None:
        """Tell the other workers what was found here, and take in what they found."""
        with suppress(Unavailable):
            await self._board.write()
        now = self._clock()
        self._forget(now)
        used = self._in_use(now)
        found = await self._board.read([gate.id for gate in used])
        for gate in used:
            gate.adopt(found.get(gate.id, {}), now)

    def _forget(self, now: float) -> None:
        for gate in [gate for gate in self._gates.values() if gate.idle and now - gate.used_at >= _FORGET_SECONDS]:
            del self._gates[gate.id]
            self._metrics.forget(gate.name, str(gate.id))
            self._quotas.forget(gate.id)

    async def _tidy(self) -> None:
        """Measure what is sent, and let the others have what is not used here."""
        while True:
            for gate in list(self._gates.values()):
                gate.budget.measure(self._clock())
                with self._guarded(gate):
                    await gate.put_back()
            await asyncio.sleep(self._rules.every)

    async def _read_quotas(self) -> None:
        while True:
            for gate in self._in_use(self._clock()):
                with self._guarded(gate):
                    await self._quotas.read(gate, self._clock())
            await asyncio.sleep(self._rules.every)

    def _in_use(self, now: float) -> list[Gate]:
        return [gate for gate in self._gates.values() if now - gate.used_at < _IN_USE_SECONDS]

    @contextmanager
    def _guarded(self, gate: Gate) -> Iterator[None]:
        """Let a loop go on after a fault: mail is sent without what it does."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the loop's edge
            self._log.exception("provider not looked after", provider=gate.name)
