"""What workers tell each other about a provider, as it stands in the cache; what cannot be read is not there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from mail.breaker import Breaker, Cause, Condition
from mail.limits import SendQuota
from mail.pace import MAX_HOLD_SECONDS, Pace

# Clocks of workers differ a little; a word from further ahead would count as the latest for too long.
SKEW_SECONDS: Final = 5.0
_DAY_SECONDS: Final = 86_400.0
_FAULTS: Final = (ValueError, KeyError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Reading:
    """A provider's own quota, as one worker read it for all.

    Attributes:
        quota: what the provider said.
        at: when, in Unix time.
        used: what all workers had drawn of that day then.
    """

    quota: SendQuota
    at: float
    used: int

    def cap(self, day: date, read_on: date) -> int | None:
        """Recipients of a day that keep within the quota."""
        if self.quota.left is None:
            return None
        return self.quota.left + (self.used if day == read_on else 0)


def breaker_note(breaker: Breaker) -> bytes:
    """Write a breaker that opened or closed."""
    shut = breaker.condition is Condition.CLOSED
    return _written(
        open=not shut,
        since=breaker.since,
        until=breaker.until,
        wait=breaker.wait,
        cause=breaker.cause,
        version=breaker.version,
    )


def read_breaker(data: bytes | None, now: float) -> Breaker | None:
    """Read a breaker."""
    try:
        said = _read(data)
        since = _past(said["since"], now)
        if not said["open"]:
            return Breaker(since=since)
        until, wait = (
            min(float(said[key]), latest) for key, latest in (("until", now + _DAY_SECONDS), ("wait", _DAY_SECONDS))
        )
        return Breaker(Condition.OPEN, since, until, wait, Cause(said["cause"]), int(said["version"]))
    except _FAULTS:
        return None


def pace_note(pace: Pace) -> bytes:
    """Write a pace that was slowed."""
    return _written(limit=pace.limit, rate=pace.rate, at=pace.at, hold=pace.hold)


def read_pace(data: bytes | None, now: float) -> Pace | None:
    """Read a pace."""
    try:
        said = _read(data)
        at = _past(said["at"], now)
        limit, rate = float(said["limit"]), float(said["rate"])
        hold = min(float(said["hold"]), now + MAX_HOLD_SECONDS)
    except _FAULTS:
        return None
    return Pace(limit, rate, at, hold) if 0 < rate <= limit else None


def reading_note(reading: Reading) -> bytes:
    """Write a provider's quota."""
    quota = reading.quota
    return _written(rate=quota.rate, left=quota.left, enabled=quota.enabled, at=reading.at, used=reading.used)


def read_reading(data: bytes | None, now: float) -> Reading | None:
    """Read a provider's quota."""
    try:
        said = _read(data)
        at, rate, left = _past(said["at"], now), said["rate"], said["left"]
        quota = SendQuota(
            None if rate is None else float(rate), None if left is None else int(left), bool(said["enabled"])
        )
        return None if rate is not None and not rate > 0 else Reading(quota, at, int(said["used"]))
    except _FAULTS:
        return None


def _written(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _read(data: bytes | None) -> Mapping[str, Any]:
    said = json.loads(data or b"null")
    if not isinstance(said, dict):
        raise TypeError(type(said).__name__)
    return said


def _past(time: Any, now: float) -> float:
    at = float(time)
    if not at <= now + SKEW_SECONDS:
        raise ValueError("a time that is still to come")
    return at
