"""What an alarm is, before CloudWatch is told of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from infra.readings import Reading
from infra.settings import ServiceName

Severity = Literal["critical", "warning"]
# What CloudWatch makes of a minute of which it knows nothing: it counts as bad, as good, or for nothing.
Missing = Literal["breaching", "notBreaching", "ignore"]
Comparison = Literal["above", "at least", "below"]

OPERATORS: Final = {
    "above": "GreaterThanThreshold",
    "at least": "GreaterThanOrEqualToThreshold",
    "below": "LessThanThreshold",
}
_GIB: Final = 1_073_741_824
_MIB: Final = 1_048_576
PAGE: Final = "docs/reference/alarms.md"


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """What it means when an alarm goes off, and what to do then; alarms of the same kind share one.

    `anchor` is its heading on the page of alarms.
    """

    anchor: str
    why: str
    steps: tuple[str, ...]

    @property
    def link(self) -> str:
        """Where it is written down."""
        return f"{PAGE}#{self.anchor}"


@dataclass(frozen=True, kw_only=True)
class AlarmSpec:
    """One alarm: it goes off when the reading is on the wrong side of the threshold for so many periods in a row."""

    name: str
    runbook: Runbook
    reading: Reading
    comparison: Comparison
    threshold: float
    unit: str
    """Of the threshold, for people: "%", "messages", "s"."""
    periods: int
    missing: Missing
    severity: Severity
    service: ServiceName | None = None
    """The service that is impaired by it."""
    rollback: bool = False
    """A release of the service that sets it off is taken back."""

    @property
    def condition(self) -> str:
        """The condition in words."""
        if self.unit == "bytes":
            size = (
                f"{self.threshold / _GIB:.1f} GiB"
                if self.threshold >= _GIB / 10
                else f"{self.threshold / _MIB:.0f} MiB"
            )
            return f"{self.comparison} {size}"
        return f"{self.comparison} {self.threshold:g} {self.unit}"

    @property
    def description(self) -> str:
        """What whoever is woken by it reads."""
        return f"{self.severity}: {self.condition}. {self.runbook.why} Runbook: {self.runbook.link}"


def rollback_names(prefix: str, service: ServiceName, specs: Sequence[AlarmSpec]) -> list[str]:
    """Returns the names of the alarms that take a release of the service back; known before the alarms exist."""
    return [full_name(prefix, spec) for spec in specs if spec.rollback and spec.service == service]


def full_name(prefix: str, spec: AlarmSpec) -> str:
    """Returns an alarm's name in CloudWatch."""
    return f"{prefix}-{spec.name}"
