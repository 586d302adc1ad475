"""When the relay turns work away, and with which words (SCALE-007): each reason has its own reply and its own count."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from backing.metrics import RelayMetrics
from mail.errors import Reply, Unavailable
from relay import replies
from relay.settings import RelaySettings

# A state that nothing has confirmed for this long is given up, and the relay accepts: it must not stay closed because
# it cannot see.
BLIND_SECONDS: Final = 120.0
DEPTH_SECONDS: Final = 5.0
AGE_SECONDS: Final = 60.0
# Relays that started together do not ask together for ever.
_JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Shed:
    """Work turned away: why, as counted, and what the client is told."""

    reason: str
    reply: Reply


SESSIONS: Final = Shed("sessions", replies.TOO_MANY_SESSIONS)
QUEUE_DEPTH: Final = Shed("queue_depth", Reply(421, "4.3.2", "Too many messages wait for delivery, try again later"))
QUEUE_AGE: Final = Shed("queue_age", Reply(421, "4.3.2", "Messages wait too long for delivery, try again later"))
DRAINING: Final = Shed("draining", replies.DRAINING)


def address_sessions(limit: int) -> Shed:
    """Too many sessions of one address."""
    return Shed("address_sessions", Reply(421, "4.7.0", f"Too many sessions from your address (limit {limit})"))


def account_sessions(account: str, limit: int) -> Shed:
    """Too many sessions of one account."""
    return Shed("account_sessions", Reply(421, "4.7.0", f"Too many sessions of account {account} (limit {limit})"))


@dataclass(frozen=True, slots=True)
class Marks:
    """Above `high` work is turned away, below `low` it is taken again; between them things stay as they are."""

    high: float
    low: float

    def exceeded(self, value: float, *, before: bool) -> bool:
        """Whether work is turned away at a value, given whether it was before."""
        return value >= self.low if before else value > self.high


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of one measure: whether it is too high, and until when that holds unconfirmed."""

    exceeded: bool = False
    until: float = 0.0

    def after(self, value: float | None, marks: Marks, now: float) -> "Opinion":
        """The opinion after a reading; None says nothing, and an opinion that nothing confirms expires."""
        if value is None:
            return self if now < self.until else Opinion()
        before = self.exceeded and now < self.until
        return Opinion(marks.exceeded(value, before=before), now + BLIND_SECONDS)


Reading = Callable[[], Awaitable[float | None]]


@dataclass(frozen=True, slots=True)
class Measure:
    """Something that is read from time to time.

    Attributes:
        shed: what is said while it is too high.
        read: reads it; None where there is nothing to read yet, `Unavailable` where nobody answers.
        seconds: how often.
        marks: the limits as they are now.
        show: makes a reading, or its absence, visible.
    """

    shed: Shed
    read: Reading
    seconds: float
    marks: Callable[[], Marks]
    show: Callable[[float], object]


class Load:
    """Watches the queue; `objection` is what it has against more work, or None.

    Args:
        measures: what is watched; the first that is too high is the one that is said.
        clock: seconds that only ever grow.
    """

    def __init__(self, *measures: Measure, clock: Callable[[], float] = time.monotonic) -> None:
        self._measures = measures
        self._clock = clock
        self._log = structlog.get_logger()
        self._opinions: dict[str, Opinion] = {measure.shed.reason: Opinion() for measure in measures}
        self._faults: dict[str, str | None] = {}
        self.objection: Shed | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Watch until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            watches = [tasks.create_task(self._watch(measure)) for measure in self._measures]
            try:
                yield self
            finally:
                for watch in watches:
                    watch.cancel()

    async def look(self, measure: Measure) -> None:
        """Read a measure once and form an opinion."""
        reason = measure.shed.reason
        value, fault = None, None
        try:
            async with asyncio.timeout(measure.seconds):
                value = await measure.read()
        except (Unavailable, TimeoutError) as error:
            fault = str(error) or "no answer in time"
        except Exception as error:  # noqa: BLE001 - an answer that nobody foresaw must not end the relay
            fault = f"{type(error).__name__}: {error}"
        self._note_fault(reason, fault)
        opinion = self._opinions[reason].after(value, measure.marks(), self._clock())
        if opinion.exceeded != self._opinions[reason].exceeded:
            self._log.warning("turning work away" if opinion.exceeded else "taking work", reason=reason, value=value)
        self._opinions[reason] = opinion
        measure.show(float("nan") if value is None else value)
        self.objection = next((m.shed for m in self._measures if self._opinions[m.shed.reason].exceeded), None)

    async def _watch(self, measure: Measure) -> None:
        while True:
            await self.look(measure)
            await asyncio.sleep(measure.seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - not a secret

    def _note_fault(self, reason: str, fault: str | None) -> None:
        """Say once that a measure cannot be read, and once that it can be again."""
        known = self._faults.get(reason)
        if fault and not known:
            self._log.warning("load not known", measure=reason, reason=fault)
        elif known and not fault:
            self._log.info("load known again", measure=reason)
        self._faults[reason] = fault


def queue_measures(
    settings: Callable[[], RelaySettings], metrics: RelayMetrics, readings: Mapping[str, Reading]
) -> list[Measure]:
    """The measures of the delivery queue.

    Args:
        settings: the settings as they are now.
        metrics: where depth and age are shown.
        readings: `depth`, messages that wait; `age`, seconds that the oldest has waited.
    """

    def depth() -> Marks:
        return Marks(settings().relay_queue_depth_high, settings().relay_queue_depth_low)

    def age() -> Marks:
        return Marks(settings().relay_queue_age_high_seconds, settings().relay_queue_age_low_seconds)

    return [
        Measure(QUEUE_DEPTH, readings["depth"], DEPTH_SECONDS, depth, metrics.queue_depth.set),
        Measure(QUEUE_AGE, readings["age"], AGE_SECONDS, age, metrics.queue_age.set),
    ]
