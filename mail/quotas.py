"""What an account may send in an hour, a day and a month of the calendar (UTC), and how it is told."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mail.accounts import Quota, Unit, Window
from mail.errors import Reply

ALARM_SHARE: Final = 0.8

_ADJECTIVES: Final[dict[Window, str]] = {"hour": "Hourly", "day": "Daily", "month": "Monthly"}


@dataclass(frozen=True, slots=True)
class Span:
    """One window of the calendar.

    Attributes:
        start: its first moment.
        end: the first moment of the next one; the counts begin at 0 again.
    """

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of a quota is used.

    Attributes:
        quota: the limit.
        used: what was counted in its window so far.
        span: its window.
    """

    quota: Quota
    used: int
    span: Span

    @property
    def left(self) -> int:
        """What may still be sent."""
        return max(self.quota.limit - self.used, 0)

    @property
    def alarming(self) -> bool:
        """Whether so much is used that somebody should know."""
        return self.used >= math.ceil(self.quota.limit * ALARM_SHARE)

    @property
    def reply(self) -> Reply:
        """Answer to what does not fit."""
        quota = self.quota
        words = f"{_ADJECTIVES[quota.window]} quota of {quota.limit} {quota.unit} reached"
        return Reply(452, "4.7.1", f"{words}, resets {self.span.end:%Y-%m-%dT%H:%MZ}")


def span_at(window: Window, now: datetime) -> Span:
    """Give the window that a moment is in; the moment is in UTC, which knows no summer time."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    if window == "hour":
        return Span(hour, hour + timedelta(hours=1))
    day = hour.replace(hour=0)
    if window == "day":
        return Span(day, day + timedelta(days=1))
    month = day.replace(day=1)
    # Every month has ended 31 days after its first, and the next one has not.
    return Span(month, (month + timedelta(days=31)).replace(day=1))


def amount(unit: Unit, recipients: int) -> int:
    """Give what one message counts for."""
    return 1 if unit == "messages" else recipients


def exceeded(standings: list[Standing], recipients: int) -> Standing | None:
    """Give the quota that one more message would not fit in; of several the one that lasts longest."""
    full = [s for s in standings if s.used + amount(s.quota.unit, recipients) > s.quota.limit]
    return max(full, key=lambda s: s.span.end, default=None)
