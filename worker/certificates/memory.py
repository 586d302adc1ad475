"""What a run of the renewer leaves for the next one: what went wrong, and how long to keep away from the server."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

# Let's Encrypt issues five certificates of the same names in seven days; one is left for whoever has to force it.
_ORDERS: Final = 4
_ORDERS_PERIOD: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known from runs before.

    Attributes:
        failures: attempts that failed since the last good one.
        reason: what the last of them said.
        not_before: Unix time until which the server wants to be left alone.
        issued: Unix times of the certificates issued lately.
    """

    failures: int = 0
    reason: str = ""
    not_before: float = 0.0
    issued: tuple[float, ...] = ()

    def failed(self, reason: str, not_before: datetime | None = None) -> "Memory":
        """Remember a failure, and when the server is to be asked again at the earliest."""
        until = max(self.not_before, not_before.timestamp()) if not_before else self.not_before
        return replace(self, failures=self.failures + 1, reason=reason, not_before=until)

    def succeeded(self) -> "Memory":
        """Remember that a certificate is in its place."""
        return replace(self, failures=0, reason="", not_before=0.0)

    def got_one(self, now: datetime) -> "Memory":
        """Remember that the server has issued a certificate."""
        since = (now - _ORDERS_PERIOD).timestamp()
        return replace(self, issued=(*(moment for moment in self.issued if moment > since), now.timestamp()))

    def hold(self, now: datetime, *, force: bool = False) -> tuple[datetime, str] | None:
        """Say until when no order may be placed, and why; None where one may be.

        Args:
            now: what time it is.
            force: obey only what the server said, not our own limit.
        """
        if self.not_before > now.timestamp():
            return _moment(self.not_before), f"the ACME server is to be left alone: {self.reason}"
        since = (now - _ORDERS_PERIOD).timestamp()
        recent = sorted(moment for moment in self.issued if moment > since)
        if len(recent) >= _ORDERS and not force:
            until = _moment(recent[-_ORDERS]) + _ORDERS_PERIOD
            return until, f"{len(recent)} certificates were issued in the last {_ORDERS_PERIOD.days} days"
        return None


def remembered(text: str) -> Memory:
    """Read what `written` wrote; whatever is wrong with it, nothing is remembered."""
    try:
        document: Any = json.loads(text or "{}")
        return Memory(
            int(document.get("failures", 0)),
            str(document.get("reason", "")),
            float(document.get("not_before", 0)),
            tuple(map(float, document.get("issued", ()))),
        )
    except (ValueError, TypeError, AttributeError):
        return Memory()


def written(memory: Memory) -> str:
    """Write it as JSON."""
    return json.dumps(asdict(memory))


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
