"""How long a part that failed waits before it is started again."""

from dataclasses import dataclass
from random import random

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0
# A part that was well this long has recovered: its next failure is a first one.
RECOVERED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures in a row."""

    failures: int = 0

    def failed(self, healthy_seconds: float) -> "Backoff":
        """Count a failure after so long a time in good health."""
        return Backoff(1 if healthy_seconds >= RECOVERED_SECONDS else self.failures + 1)

    def seconds(self, chance: float | None = None) -> float:
        """Return the wait: doubled with each failure, half of it by chance, so that parts do not fall in step."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** max(0, self.failures - 1))
        share = random() if chance is None else chance  # noqa: S311 - spreads restarts, keeps no secret
        return longest * (0.5 + share / 2)
