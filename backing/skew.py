"""What time it is by a service of AWS, which refuses what is signed at another time."""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from backing import ids

# What a service says of a signature whose time is not its own ("Common Errors" of the SQS and SES API References);
# SES calls the signature wrong or expired, too.
_CLOCK_IS_OFF: Final = frozenset(
    {"InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired", "RequestTimeTooSkewed"}
)
# A clock that is off by less than this is not why a signature was refused.
_SKEW: Final = timedelta(seconds=60)
# How long answers may still come to what was signed before the clock was set.
_ON_THE_WAY: Final = timedelta(seconds=60)


class ServiceClock:
    """Our clock, set by what a service says of its own."""

    def __init__(self) -> None:
        self._lag = timedelta()
        self._set: datetime | None = None

    def now(self) -> datetime:
        """The time to sign with."""
        return ids.now() + self._lag

    def set_by(self, code: str, date: str) -> bool:
        """Learn from a refusal what time it is; whether ours was wrong when it was asked, so that it may do better now.

        Args:
            code: the error that the service names.
            date: the Date header of its answer.
        """
        if code not in _CLOCK_IS_OFF:
            return False
        try:
            now = ids.now()
            lag = parsedate_to_datetime(date) - now
        except (ValueError, TypeError, OverflowError):  # TypeError: the date has no zone
            return False
        if abs(lag - self._lag) > _SKEW:
            self._lag, self._set = lag, now
        return self._set is not None and now - self._set < _ON_THE_WAY
