"""The way to one provider: what may pass now, and what waits."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from mail.breaker import Cause, Event, event_of
from mail.control_notes import Reading, read_reading
from mail.delivery import PROVIDER_TROUBLE, Outcome, RecipientResult, Scope
from mail.limits import Limits, limits_of
from worker.control.admission import SHORTEST_SECONDS, Admission, Grant, Provided, Refusal
from worker.control.board import Board
from worker.control.budget import Budget
from worker.control.fair import FairQueue
from worker.control.health import Health

# How often those that wait are looked after at least, and at most.
_LONGEST_PAUSE: Final = 0.25
_SHORTEST_PAUSE: Final = 0.01
# After which a place may be free that was not while somebody waited.
_PLACE_SECONDS: Final = 1.0
# Limits that cannot be read are an operator's to mend.
_BAD_LIMITS_SECONDS: Final = 900.0
_ANSWERED: Final = Event(Cause.ANSWERED)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that somebody wants to make.

    Attributes:
        account_id: whose mail it is.
        recipients: that it is for.
        version: of the provider's configuration.
        probe: whether it decides if the provider is used again.
    """

    account_id: UUID
    recipients: int
    version: int
    probe: bool


@dataclass(slots=True, eq=False)
class _Waiter:
    attempt: Attempt
    answer: asyncio.Future[Admission]
    asked_for: bool = False


class Gate:
    """Admits attempts at one provider.

    Args:
        provided: the provider.
        board: where workers leave word.
        share: of everything, while the cache is away.
        weight: an account's share where there is too little for all.
    """

    def __init__(self, provided: Provided, board: Board, share: float, weight: Callable[[UUID], float]) -> None:
        self.id = provided.id
        self.name = provided.name
        self.version = -1
        self.health = Health(provided.id, provided.name, board)
        self.budget = Budget(provided.id, provided.name, board, share)
        self.used_at = board.clock()
        self.refusal: Refusal | None = None
        self._board = board
        self._concurrency: int | None = None
        self._sending = 0
        self._queue: FairQueue[_Waiter] = FairQueue(weight)
        self._filling = asyncio.Lock()
        self._tended = False

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way or waits."""
        return not self._sending and not self._queue

    def configure(self, provided: Provided, now: float) -> None:
        """Take in a configuration; an older one than the last is of a message that was claimed before the change."""
        if provided.version <= self.version:
            return
        self.version, self.name = provided.version, provided.name
        try:
            limits, self.refusal = limits_of(provided.limits), None
        except ValueError as error:
            limits, self.refusal = Limits(), Refusal(_BAD_LIMITS_SECONDS, "limits", str(error))
        self._concurrency = limits.concurrency
        self.budget.configure(limits)
        self.health.reconfigured(provided.version, now)

    def pass_now(self, recipients: int, version: int, now: float) -> Grant | None:
        """Let an attempt through if nothing stands against it, and nobody waits."""
        if self._queue or self._obstacle(recipients, now):
            return None
        return self._grant(recipients, version)

    async def wait(
        self, attempt: Attempt, patience: float, start: Callable[[Coroutine[Any, Any, None]], object]
    ) -> Admission:
        """Let an attempt through as soon as its account's turn has come.

        Args:
            attempt: what is wanted.
            patience: seconds to wait at most.
            start: runs a task in the background.
        """
        waiter = _Waiter(attempt, asyncio.get_running_loop().create_future())
        self._queue.add(attempt.account_id, attempt.recipients, waiter)
        try:
            await self._get_more(waiter)
            if not waiter.answer.done() and self._in_time(attempt, patience):
                if not self._tended:
                    start(self._tend())
                    self._tended = True
                await asyncio.wait([waiter.answer], timeout=patience)
        except BaseException:
            if waiter.answer.done() and isinstance(granted := waiter.answer.result(), Grant):
                self.give_back(granted)
            raise
        finally:
            self._queue.drop(attempt.account_id, waiter)
        return waiter.answer.result() if waiter.answer.done() else self._overdue(attempt)

    def told(self, grant: Grant, results: Sequence[RecipientResult], now: float) -> None:
        """Take in what came of an attempt."""
        self._sending -= 1
        if len(results) == 1 and results[0].outcome is Outcome.ACCEPTED:
            self.health.after(_ANSWERED, now, probe=grant.probe)
        else:
            self.health.after(event_of(results, grant.version), now, probe=grant.probe)
            self._learn(results, now)
        if self._queue:
            self._serve()

    def give_back(self, grant: Grant) -> None:
        """Take a grant back that was not used."""
        self._sending -= 1
        self.budget.give_back(grant.recipients)
        if grant.probe:
            self.health.put_off(self._board.clock())
        if self._queue:
            self._serve()

    async def put_back(self) -> None:
        """Let the other workers have what is not used here."""
        if self._queue or self.budget.free:
            return
        async with self._filling:
            await self.budget.put_back(self._board.clock())

    async def used_today(self) -> int:
        """What all workers together have drawn of this day."""
        async with self._filling:
            return await self.budget.used_today(self._board.clock())

    def read(self, reading: Reading, now: float) -> None:
        """Take in what the provider says of itself; one that is paused is left alone."""
        self.budget.read(reading)
        if not reading.quota.enabled:
            self.health.after(Event(Cause.PAUSED), now)
        elif reading.quota.left != 0:
            self.health.allow(now)

    def adopt(self, notes: Mapping[bytes, bytes], now: float) -> None:
        """Take in what other workers left word of; the latest counts."""
        self.health.adopt(notes.get(b"breaker"), now)
        self.budget.adopt(notes.get(b"pace"), now)
        heard, known = read_reading(notes.get(b"quota"), now), self.budget.reading
        if heard and (known is None or heard.at > known.at):
            self.read(heard, now)

    def _learn(self, results: Sequence[RecipientResult], now: float) -> None:
        throttles = [result for result in results if result.outcome is Outcome.THROTTLED]
        if throttles:
            daily = any(result.scope is Scope.DAY for result in throttles)
            self._board.metrics.throttles.labels(self.name, "day" if daily else "rate").inc()
            if not daily:
                self.budget.throttled(max(result.retry_after or 0.0 for result in throttles), now)
        self.budget.not_sent(sum(result.outcome in PROVIDER_TROUBLE for result in results))

    def _grant(self, recipients: int, version: int, *, probe: bool = False) -> Grant:
        self._sending += 1
        self.budget.take(recipients)
        return Grant(self.id, version, recipients, probe)

    def _in_time(self, attempt: Attempt, patience: float) -> bool:
        """Whether what it lacks may come while it waits; how many others wait is not asked, since turns are fair."""
        if patience <= 0:
            return False
        obstacle = self._obstacle(attempt.recipients, self._board.clock())
        return obstacle is None or obstacle.seconds <= patience

    def _obstacle(self, recipients: int, now: float) -> Refusal | None:
        if self._concurrency is not None and self._sending >= self._concurrency:
            return Refusal(SHORTEST_SECONDS, "concurrency")
        return self.budget.short(recipients, now)

    def _overdue(self, attempt: Attempt) -> Refusal:
        """What to say to one whose patience is over; there may be a queue."""
        now = self._board.clock()
        if not self.health.closed and not attempt.probe:
            return self.health.refusal(now)
        rate = self.budget.rate(now)
        ahead = sum(each.attempt.recipients for each in self._queue)
        queued = Refusal(max(ahead / rate, SHORTEST_SECONDS) if rate else SHORTEST_SECONDS, "rate")
        obstacle = self._obstacle(attempt.recipients, now) or queued
        if obstacle.reason == "rate":
            return Refusal(max(obstacle.seconds, queued.seconds), "rate")
        return Refusal(_PLACE_SECONDS, "concurrency") if obstacle.reason == "concurrency" else obstacle

    async def _get_more(self, waiter: _Waiter | None = None) -> None:
        """Get more from what all workers share, once for all that wait."""
        async with self._filling:
            if not self._queue or (waiter and (waiter.asked_for or waiter.answer.done())):
                return
            for each in self._queue:
                each.asked_for = True
            if not self.budget.free:
                waiting = sum(each.attempt.recipients for each in self._queue)
                await self.budget.fill(self._queue.first().attempt.recipients, waiting, self._board.clock())
            self._serve()

    def _serve(self) -> None:
        """Answer all whose turn has come."""
        now = self._board.clock()
        while self._queue:
            waiter = self._queue.first()
            answer = self._answer(waiter.attempt, now)
            if answer is None:
                return
            self._queue.take() if isinstance(answer, Grant) else self._queue.drop(waiter.attempt.account_id, waiter)
            waiter.answer.set_result(answer)

    def _answer(self, attempt: Attempt, now: float) -> Admission | None:
        if not self.health.closed and not attempt.probe:
            return self.health.refusal(now)
        obstacle = self._obstacle(attempt.recipients, now)
        if obstacle is None:
            return self._grant(attempt.recipients, attempt.version, probe=attempt.probe)
        return obstacle if self.budget.final(obstacle, now) else None

    async def _tend(self) -> None:
        """Look after those that wait until nobody does."""
        try:
            while self._queue:
                obstacle = self._obstacle(self._queue.first().attempt.recipients, self._board.clock())
                pause = obstacle.seconds if obstacle else _SHORTEST_PAUSE
                await asyncio.sleep(min(max(pause, _SHORTEST_PAUSE), _LONGEST_PAUSE))
                try:
                    await self._get_more()
                except Exception:  # noqa: BLE001 - the loop's edge: a fault here may not end the worker
                    structlog.get_logger().exception("provider's queue not looked after", provider=self.name)
        finally:
            self._tended = False
