"""What is counted and logged of each attempt at a provider."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from backing.metrics import WorkerMetrics
from backing.postgres.claims import Ended
from backing.postgres.routing import ProviderRow
from mail.delivery import Outcome, RecipientResult
from worker.errand import Errand

# Domains in a log line; a message to a thousand of them is known by its first few.
_DOMAINS: Final = 5


class Journal:
    """Notes attempts.

    Args:
        metrics: where they are counted.
        clock: tells the time.
    """

    def __init__(self, metrics: WorkerMetrics, clock: Callable[[], datetime]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._log = structlog.get_logger()

    def attempt(self, errand: Errand, row: ProviderRow, results: Sequence[RecipientResult], seconds: float) -> None:
        """Note the attempt that has just ended."""
        job, attempt = errand.job, errand.ended[-1]
        outcomes = Counter(str(each.outcome) for each in results)
        self._metrics.send_seconds.observe(seconds)
        for outcome, count in outcomes.items():
            self._metrics.outcomes.labels(outcome).inc(count)
        if Outcome.ACCEPTED in outcomes:
            age = self._clock() - job.accepted_at
            self._metrics.accept_to_delivered_seconds.observe(max(age.total_seconds(), 0.0))
        # What only an operator can mend is an error, whoever's fault it is: mail waits for it.
        tell = self._log.error if attempt.outcome == Outcome.MISCONFIGURED else self._log.info
        tell(
            "attempt",
            message=str(job.id),
            session=job.session,
            account=str(job.account_id),
            provider=row.name,
            attempt=attempt.n,
            outcomes=dict(outcomes),
            domains=_domains(errand, results),
            reply=None if attempt.outcome == Outcome.ACCEPTED else _unaddressed(attempt),
            ms=round(seconds * 1000, 1),
        )


def _domains(errand: Errand, results: Sequence[RecipientResult]) -> list[str]:
    addresses = (errand.job.recipients[result.n].address for result in results)
    return list(dict.fromkeys(address.rpartition("@")[2].lower() for address in addresses))[:_DOMAINS]


def _unaddressed(attempt: Ended) -> str:
    """The reply that stands for an attempt, without the addresses a peer likes to repeat in it."""
    words = [word if "@" not in word else "<...>" for word in attempt.reply.split()]
    return " ".join([*([str(attempt.code)] if attempt.code else []), *words])
