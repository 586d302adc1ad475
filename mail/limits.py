"""How much a provider may be given: what its operator set, what it allows itself, and a warm-up by the day."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

# A schedule longer than this is a slip of the pen.
MAX_WARM_UP_DAYS: Final = 366
MAX_GROWTH: Final = 10.0
_MAX_RATE: Final = 1e6
_MAX_COUNT: Final = 10**12
_MOST_WORDS: Final = 60
_KEYS: Final = ("rate", "burst", "concurrency", "daily", "warm_up")
_WARM_UP_KEYS: Final = ("start", "first", "growth", "days")
_N = TypeVar("_N", int, float)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How many recipients a new sender may have each day: a few on the first, more on every further one.

    Attributes:
        start: the first day (UTC); before it the provider gets no more than on it.
        first: recipients of that day.
        growth: by which each day's number is multiplied for the next.
        days: how many days are limited.
    """

    start: date
    first: int
    growth: float
    days: int

    def cap(self, day: date) -> int | None:
        """Recipients of a day; None once the schedule has ended."""
        nth = max((day - self.start).days, 0)
        if nth >= self.days:
            return None
        # Growth over a year overflows a float; nobody sends that much.
        if math.log(self.first) + nth * math.log(self.growth) > math.log(_MAX_COUNT):
            return _MAX_COUNT
        return min(math.floor(self.first * self.growth**nth), _MAX_COUNT)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider may be given; None is any amount.

    Attributes:
        rate: recipients per second.
        burst: recipients at once after a pause; None is what comes in a second.
        concurrency: attempts at a time of each worker.
        daily: recipients per day (UTC).
        warm_up: a schedule that limits the first days further.
    """

    rate: float | None = None
    burst: int | None = None
    concurrency: int | None = None
    daily: int | None = None
    warm_up: WarmUp | None = None

    def cap(self, day: date) -> int | None:
        """Recipients of a day."""
        return least(self.daily, self.warm_up.cap(day) if self.warm_up else None)


@dataclass(frozen=True, slots=True)
class SendQuota:
    """What a provider says it allows itself.

    Attributes:
        rate: recipients per second, or None without a limit.
        left: recipients that may still be sent now, or None without a limit.
        enabled: whether it sends at all.
    """

    rate: float | None
    left: int | None
    enabled: bool = True


def limits_of(given: Mapping[str, Any]) -> Limits:
    """Read the limits of a provider as PostgreSQL keeps them, such as `{"rate": 14, "daily": 50000}`.

    Raises:
        ValueError: naming the key, its value, and what it needs to be.
    """
    _check_keys("limits", given, _KEYS)
    warm_up = given.get("warm_up")
    return Limits(
        rate=_number(given, "rate", above=0, most=_MAX_RATE),
        burst=_count(given, "burst"),
        concurrency=_count(given, "concurrency"),
        daily=_count(given, "daily"),
        warm_up=None if warm_up is None else _warm_up(warm_up),
    )


def day_of(now: float) -> date:
    """The day (UTC) that a Unix time is in."""
    return datetime.fromtimestamp(now, UTC).date()


def next_day(now: float) -> float:
    """The Unix time at which the next day (UTC) begins."""
    tomorrow = day_of(now) + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=UTC).timestamp()


def least(*bounds: _N | None) -> _N | None:
    """The lowest of some bounds, of which None is none."""
    return min((bound for bound in bounds if bound is not None), default=None)


def _warm_up(given: object) -> WarmUp:
    if not isinstance(given, Mapping):
        raise _wrong("warm_up", given, f"an object with {', '.join(_WARM_UP_KEYS)}")
    _check_keys("warm_up", given, _WARM_UP_KEYS)
    first = _count(given, "first", "warm_up.")
    growth = _number(given, "growth", above=0, most=MAX_GROWTH, within="warm_up.")
    days = _count(given, "days", "warm_up.", MAX_WARM_UP_DAYS)
    start = _date(given.get("start"))
    if first is None or growth is None or days is None:
        missing = next(key for key in _WARM_UP_KEYS if given.get(key) is None)
        raise ValueError(f"warm_up.{missing} is missing; a warm-up needs {', '.join(_WARM_UP_KEYS)}")
    if growth < 1:
        raise _wrong("warm_up.growth", growth, "1 or more: a warm-up does not shrink")
    return WarmUp(start, first, growth, days)


def _date(given: object) -> date:
    if isinstance(given, str):
        try:
            return date.fromisoformat(given)
        except ValueError:
            pass
    raise _wrong("warm_up.start", given, "a day such as 2026-11-01")


def _count(given: Mapping[str, Any], key: str, within: str = "", most: int = _MAX_COUNT) -> int | None:
    number = given.get(key)
    if number is None:
        return None
    if type(number) is not int or not 1 <= number <= most:
        raise _wrong(within + key, number, f"a whole number from 1 to {most}")
    return number


def _number(given: Mapping[str, Any], key: str, *, above: float, most: float, within: str = "") -> float | None:
    number = given.get(key)
    if number is None:
        return None
    if type(number) not in {int, float} or not above < number <= most:
        raise _wrong(within + key, number, f"a number above {above:g} and up to {most:g}")
    return float(number)


def _check_keys(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise ValueError(f"{name} has no {str(key)[:_MOST_WORDS]!r}; it may have {', '.join(known)}")


def _wrong(key: str, value: object, needed: str) -> ValueError:
    return ValueError(f"{key} is {repr(value)[:_MOST_WORDS]}; it needs to be {needed}")
