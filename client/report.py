"""What is told about a run: percentiles, the summary for people, the document for programs."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from client.batch import Ledger, Result
from client.errors import INTERRUPTED, most_severe
from client.explain import Server

PHASES = ("connect", "tls", "ehlo", "auth", "send", "total")
_PERCENTILES = (50, 95, 99)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Report:
    """A run that has ended."""

    command: str
    server: Server
    ledger: Ledger
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """The exit code: that of the most severe error."""
        if self.interrupted:
            return INTERRUPTED
        return most_severe(failure.exit_code for failure in self.ledger.failures)

    @property
    def failed(self) -> int:
        """How many messages the server did not take."""
        return len(self.ledger.results) - self.ledger.accepted

    @property
    def rate(self) -> float:
        """Messages per second, as achieved."""
        return len(self.ledger.results) / self.ledger.seconds if self.ledger.seconds else 0.0

    def latencies(self) -> dict[str, dict[str, float]]:
        """Return the percentiles of each phase in milliseconds, with how often it was done."""
        table: dict[str, dict[str, float]] = {}
        for phase in PHASES:
            values = [spent[phase] for spent in map(timings, self.ledger.results) if phase in spent]
            if values:
                table[phase] = {"count": len(values)} | {f"p{p}": percentile(values, p) for p in _PERCENTILES}
        return table

    def errors(self) -> list[tuple[str, int]]:
        """Return the different errors, the most frequent first."""
        return Counter(failure.group for failure in self.ledger.failures).most_common()

    def document(self) -> dict[str, Any]:
        """Return what --json prints."""
        ledger = self.ledger
        return {
            "command": self.command,
            "server": {"host": self.server.host, "port": self.server.port, "tls": self.server.tls},
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "summary": {
                "asked": ledger.asked,
                "accepted": ledger.accepted,
                "partial": sum(result.partial for result in ledger.results),
                "failed": self.failed,
                "not_tried": ledger.asked - len(ledger.results),
                "connections": ledger.connections,
                "seconds": round(ledger.seconds, 3),
                "rate": round(self.rate, 2),
                "latency_ms": self.latencies(),
                "errors": [{"error": error, "count": count} for error, count in self.errors()],
            },
            "messages": [_entry(result) for result in sorted(ledger.results, key=lambda result: result.index)],
        }


def timings(result: Result) -> dict[str, float]:
    """Return the milliseconds of each phase that was done for a message, and their sum."""
    spent = result.spent | {"total": sum(result.spent.values())}
    return {phase: round(spent[phase] * 1000, 3) for phase in PHASES if phase in spent}


def summary(report: Report) -> Iterator[str]:
    """Tell a batch."""
    ledger = report.ledger
    partial = sum(result.partial for result in ledger.results)
    yield (
        f"{ledger.accepted} of {ledger.asked} accepted, {report.failed} failed"
        + (f", {partial} of the accepted not for every recipient" if partial else "")
        + (f", {left} not tried" if (left := ledger.asked - len(ledger.results)) else "")
        + (" (interrupted)" if report.interrupted else "")
    )
    yield f"{ledger.seconds:.2f} s, {report.rate:.1f} messages/s, {_plural(ledger.connections, 'connection')}"
    yield from _table(report)
    errors = report.errors()
    if errors:
        yield "errors:"
        yield from (f"  {count:6} x {error}" for error, count in errors)


def story(report: Report) -> Iterator[str]:
    """Tell a single message."""
    for result in report.ledger.results:
        if result.reply and result.message:
            to = ", ".join(address for address in result.message.recipients if address not in result.refused)
            yield f"accepted for {to}: {result.reply}"
            yield f"Message-ID {result.message.message_id}"
            yield f"{_plural(len(result.message.raw), 'byte')}, SHA-256 {result.message.sha256}"
        phases = ", ".join(f"{phase} {value:.1f}" for phase, value in timings(result).items())
        yield f"milliseconds: {phases}"


def _table(report: Report) -> Iterable[str]:
    latencies = report.latencies()
    if not latencies:
        return
    yield f"{'milliseconds':12} {'count':>6} {'P50':>9} {'P95':>9} {'P99':>9}"
    for phase, row in latencies.items():
        yield f"{phase:12} {row['count']:6} {row['p50']:9.1f} {row['p95']:9.1f} {row['p99']:9.1f}"


def _entry(result: Result) -> dict[str, Any]:
    message, reply, error = result.message, result.reply, result.error
    return {
        "id": result.index,
        "message_id": message.message_id if message else None,
        "from": message.sender if message else None,
        "to": list(message.recipients) if message else [],
        "accepted": result.accepted,
        "reply": str(reply) if reply else None,
        "queue_id": reply.queue_id if reply else None,
        "refused_recipients": {address: str(refusal) for address, refusal in result.refused.items()},
        "bytes": len(message.raw) if message else None,
        "sha256": message.sha256 if message else None,
        "timings_ms": timings(result),
        "error": None
        if error is None
        else {
            "kind": error.kind,
            "text": str(error),
            "reply": str(error.reply) if error.reply else None,
            "code": error.reply.code if error.reply else None,
            "enhanced_code": error.reply.enhanced if error.reply else None,
        },
    }


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
