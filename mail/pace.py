"""How fast a provider is sent to after it said that it was too fast: slower at once, faster again little by little."""

from dataclasses import dataclass
from typing import Final

# Additive increase, multiplicative decrease, which lets several senders settle at a common limit (RFC 5681, 3.1).
DECREASE: Final = 0.7
INCREASE: Final = 0.05
INCREASE_SECONDS: Final = 10.0
# However often it complains, a provider still gets a little: otherwise nobody would learn that it has recovered.
FLOOR_SHARE: Final = 0.05
# Attempts that were under way when it complained first complain as well; they are one complaint.
SETTLE_SECONDS: Final = 1.0
MAX_HOLD_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A rate that was learned from complaints, in recipients per second.

    Attributes:
        limit: the rate that it returns to.
        rate: what it was at a moment.
        at: that moment, in Unix time.
        hold: the Unix time before which nothing is sent, since the provider said so.
    """

    limit: float
    rate: float
    at: float
    hold: float = 0.0

    def at_time(self, now: float) -> float:
        """The rate now."""
        return min(self.rate + self.limit * INCREASE * max(now - self.at, 0.0) / INCREASE_SECONDS, self.limit)

    def slowed(self, now: float, retry_after: float | None = None) -> "Pace":
        """The pace after a complaint.

        Args:
            now: Unix time.
            retry_after: seconds that the provider wants to be left alone.
        """
        hold = max(self.hold, now + min(retry_after, MAX_HOLD_SECONDS)) if retry_after else self.hold
        if now - self.at < SETTLE_SECONDS:
            return self if hold == self.hold else Pace(self.limit, self.rate, self.at, hold)
        rate = max(self.at_time(now) * DECREASE, self.limit * FLOOR_SHARE)
        return Pace(self.limit, rate, now, hold)

    def within(self, limit: float) -> "Pace":
        """The same where the rate that it returns to has changed."""
        return self if limit == self.limit else Pace(limit, min(self.rate, limit), self.at, self.hold)

    def recovered(self, now: float) -> bool:
        """Whether nothing of the complaint is left."""
        return now >= self.hold and self.at_time(now) >= self.limit


def unhurried(limit: float) -> Pace:
    """The pace of a provider that has not complained."""
    return Pace(limit, limit, 0.0)
