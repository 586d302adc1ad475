"""When a provider is left alone, and when it is tried again: a circuit breaker, judged by real mail.

Closed, mail goes through. Open, none does until a time. Then it is half open: one message is a probe, and what becomes
of it closes the breaker or opens it for twice as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from mail.delivery import Outcome, RecipientResult, Scope
from mail.limits import next_day

WINDOW_SECONDS: Final = 30.0
# So many times in a row it was down, or such a share of attempts had trouble.
DOWN_IN_A_ROW: Final = 5
TROUBLED_SHARE: Final = 0.5
TROUBLED_OF: Final = 20
# A probe that nobody tells of has been lost with its worker.
PROBE_SECONDS: Final = 90.0
# Another worker probes; what came of it is known soon.
ELSEWHERE_SECONDS: Final = 2.0
_DAY_SECONDS: Final = 86_400.0


class Condition(StrEnum):
    """How a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Cause(StrEnum):
    """What an attempt says about its provider; the first of them that an attempt shows is what counts.

    One recipient that was answered shows that the provider works, whatever became of the others.
    """

    PAUSED = "paused"  # it says itself that it sends nothing
    MISCONFIGURED = "misconfigured"
    EXHAUSTED = "exhausted"  # the day's quota
    ANSWERED = "answered"
    THROTTLED = "throttled"
    DOWN = "down"
    UNKNOWN = "unknown"


_CAUSES: Final[Mapping[tuple[Outcome, bool], Cause]] = {
    (outcome, daily): cause
    for daily in (False, True)
    for outcome, cause in {
        Outcome.ACCEPTED: Cause.ANSWERED,
        Outcome.PERMANENT: Cause.ANSWERED,
        Outcome.TEMPORARY: Cause.ANSWERED,
        Outcome.MESSAGE_PERMANENT: Cause.ANSWERED,
        Outcome.THROTTLED: Cause.EXHAUSTED if daily else Cause.THROTTLED,
        Outcome.PROVIDER_DOWN: Cause.DOWN,
        Outcome.MISCONFIGURED: Cause.MISCONFIGURED,
        Outcome.UNKNOWN: Cause.UNKNOWN,
    }.items()
}
_GRAVITY: Final = {cause: n for n, cause in enumerate(Cause)}


class _Step(StrEnum):
    IGNORE = "ignore"
    COUNT = "count"
    CLOSE = "close"
    OPEN = "open"


_C, _O, _H = Condition.CLOSED, Condition.OPEN, Condition.HALF_OPEN
# What follows what. While it is open, answers come from attempts that had begun before.
_STEPS: Final[Mapping[Condition, Mapping[Cause, _Step]]] = {
    _C: dict.fromkeys(Cause, _Step.COUNT)
    | dict.fromkeys((Cause.PAUSED, Cause.MISCONFIGURED, Cause.EXHAUSTED), _Step.OPEN),
    _O: dict.fromkeys(Cause, _Step.IGNORE)
    | dict.fromkeys((Cause.PAUSED, Cause.MISCONFIGURED, Cause.EXHAUSTED), _Step.OPEN),
    _H: dict.fromkeys(Cause, _Step.OPEN) | dict.fromkeys((Cause.ANSWERED, Cause.THROTTLED), _Step.CLOSE),
}


class Wait(NamedTuple):
    """Seconds for which a breaker opens: first, and at most when it opens again and again."""

    first: float
    longest: float


# A day's quota is not here: it comes back when the day (UTC) ends, unless the provider says when.
WAITS: Final[Mapping[Cause, Wait]] = {
    Cause.DOWN: Wait(10, 300),
    Cause.UNKNOWN: Wait(10, 300),
    Cause.MISCONFIGURED: Wait(900, 900),
    Cause.PAUSED: Wait(120, 120),
}


@dataclass(frozen=True, slots=True)
class Event:
    """What became known of a provider.

    Attributes:
        retry_after: seconds that it wants to be left alone.
        version: of the provider's configuration that was used.
    """

    cause: Cause
    retry_after: float | None = None
    version: int = 0


class Breaker(NamedTuple):
    """How one provider's breaker stands; times are Unix times.

    Attributes:
        since: when it last opened or closed.
        until: open: when a probe may go; half open: when its probe is given up.
        wait: the seconds it opened for.
        cause: why it is open.
        version: of the configuration that it opened for.
        began: of the window in which attempts are counted.
        attempts: in the window.
        troubled: those of them that had trouble.
        row: how often it was down since it last answered, in a window of its own.
        row_began: when that was first.
    """

    condition: Condition = Condition.CLOSED
    since: float = 0.0
    until: float = 0.0
    wait: float = 0.0
    cause: Cause | None = None
    version: int = 0
    began: float = 0.0
    attempts: int = 0
    troubled: int = 0
    row: int = 0
    row_began: float = 0.0

    def after(self, event: Event, now: float) -> "Breaker":
        """The breaker after an event."""
        step = _STEPS[self.condition][event.cause]
        if step is _Step.COUNT:
            return self._counted(event, now)
        if step is _Step.OPEN:
            return self._opened(event, now)
        return Breaker(since=now, began=now) if step is _Step.CLOSE else self

    def for_version(self, version: int, now: float) -> "Breaker":
        """The breaker for a configuration: what was wrong with an older one is no more."""
        mended = self.cause is Cause.MISCONFIGURED and version > self.version
        return Breaker(since=now, began=now) if mended else self

    def may_probe(self, now: float) -> bool:
        """Whether a message may be sent to see how the provider is."""
        return self.condition is not Condition.CLOSED and now >= self.until

    def probing(self, now: float) -> "Breaker":
        """The breaker while a probe is under way."""
        return self._replace(condition=Condition.HALF_OPEN, until=now + PROBE_SECONDS)

    def put_off(self, until: float) -> "Breaker":
        """The breaker after a probe that was not sent."""
        return self._replace(condition=Condition.OPEN, until=until)

    def _counted(self, event: Event, now: float) -> "Breaker":
        # The hot path: one tuple, made once.
        began, attempts, troubled, row, row_began = self.began, self.attempts + 1, self.troubled, 0, 0.0
        if now - began >= WINDOW_SECONDS:
            began, attempts, troubled = now, 1, 0
        cause = event.cause
        if cause is Cause.DOWN or cause is Cause.UNKNOWN:
            troubled += 1
            row, row_began = self._row(cause, now)
            if row >= DOWN_IN_A_ROW or (attempts >= TROUBLED_OF and troubled >= TROUBLED_SHARE * attempts):
                return self._opened(event, now)
        return Breaker(Condition.CLOSED, self.since, 0.0, 0.0, None, 0, began, attempts, troubled, row, row_began)

    def _row(self, cause: Cause, now: float) -> tuple[int, float]:
        """How often it was down in a row by now, and since when."""
        more = cause is Cause.DOWN
        if self.row and now - self.row_began < WINDOW_SECONDS:
            return self.row + more, self.row_began
        return int(more), now

    def _opened(self, event: Event, now: float) -> "Breaker":
        if event.cause in WAITS:
            first, longest = WAITS[event.cause]
            again = self.condition is Condition.HALF_OPEN and self.cause is event.cause
            wait = max(min(self.wait * 2 if again else first, longest), event.retry_after or 0.0)
        else:
            wait = event.retry_after or next_day(now) - now
        wait = min(wait, _DAY_SECONDS)
        return Breaker(Condition.OPEN, now, now + wait, wait, event.cause, event.version)


def event_of(results: Sequence[RecipientResult], version: int) -> Event:
    """What an attempt says about its provider; one without results says that nobody knows."""
    causes = [_CAUSES[result.outcome, result.scope is Scope.DAY] for result in results]
    gravest = min(causes, key=_GRAVITY.__getitem__, default=Cause.UNKNOWN)
    waits = [result.retry_after or 0.0 for result, cause in zip(results, causes, strict=True) if cause is gravest]
    return Event(gravest, max(waits, default=0.0) or None, version)
