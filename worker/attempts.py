"""One attempt at one provider: admitted, written down, made, and learned from."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from backing.metrics import WorkerMetrics
from backing.postgres.claims import Begin, Ended, Pending
from backing.postgres.routing import ProviderRow
from mail.delivery import Outcome, RecipientResult, RetryPolicy
from mail.errors import Unavailable
from worker.bodies import Baggage
from worker.control.admission import Refusal
from worker.errand import NOT_MADE, Errand, LeaseLost
from worker.gate import Gate
from worker.journal import Journal
from worker.ledger import Ledger
from worker.providers.base import Answer, Provider
from worker.providers.registry import Providers
from worker.reports import Desk
from worker.ways import Router, Way

# How soon a provider that takes a repeated key once is asked again what became of it.
_ASK_AGAIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms attempts are made.

    Attributes:
        lease_seconds: how long a lease holds from when an attempt begins.
        attempt_seconds: longest time for one attempt.
        patience_seconds: how long a message waits in hand for a provider's rate.
        retries: when to try again, where the account has no wishes of its own.
        desk: who reports failures to senders.
    """

    lease_seconds: float
    attempt_seconds: float
    patience_seconds: float
    retries: RetryPolicy
    desk: Desk


@dataclass(frozen=True, slots=True)
class Means:
    """What the courier leans on."""

    providers: Providers
    router: Router
    gate: Gate
    ledger: Ledger
    baggage: Baggage
    metrics: WorkerMetrics
    clock: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Station:
    """A provider on the way, ready to be asked."""

    row: ProviderRow
    provider: Provider


class Attempts:
    """Makes attempts."""

    def __init__(self, means: Means, terms: Terms) -> None:
        self._means = means
        self.terms = terms
        self._journal = Journal(means.metrics, means.clock)
        self._log = structlog.get_logger()

    async def make(self, errand: Errand, station: Station, way: Way) -> None:
        """Ask a provider for the recipients of a way, if it may be asked now; the errand knows the answers then.

        Raises:
            LeaseLost: another worker has the delivery.
        """
        row = station.row
        admission = await self._means.gate.admit(
            row, errand.job.account_id, len(way.recipients), self.terms.patience_seconds
        )
        if isinstance(admission, Refusal):
            text = f"provider {row.name} not asked: {admission.text or admission.reason}"
            waits = Answer(Outcome.THROTTLED, None, None, text, retry_after=admission.seconds)
            errand.answer(way.recipients, waits, way)
            return
        results: list[RecipientResult] = []
        try:
            n = await self._begin(errand, row, way)
            if n is not None:
                results = await self._made(errand, way, station, n)
        finally:
            self._means.gate.told(admission, results)

    async def _begin(self, errand: Errand, row: ProviderRow, way: Way) -> int | None:
        """Write down that an attempt is made; None where that cannot be, and so it must not be made."""
        n, loop = errand.number(), asyncio.get_running_loop()
        claim, began = errand.claim, loop.time()
        numbers = tuple(each.n for each in way.recipients)
        try:
            ours = await self._means.ledger.begin(
                Begin(claim.delivery_id, claim.token, n, row.id, numbers, way.rule_id)
            )
        except Unavailable as fault:
            text = f"not sent, since the attempt could not be written down: {fault}"
            errand.ended.append(Ended(n, NOT_MADE, None, None, text))
            errand.answer(way.recipients, Answer(Outcome.PROVIDER_DOWN, None, None, text), way)
            return None
        if not ours:
            raise LeaseLost(str(claim.delivery_id))
        errand.lease_end = max(errand.lease_end, began + self.terms.lease_seconds)
        return n

    async def _made(self, errand: Errand, way: Way, station: Station, n: int) -> list[RecipientResult]:
        row, provider, loop = station.row, station.provider, asyncio.get_running_loop()
        began = loop.time()
        errand.fly(n, row, way, way.recipients)
        envelope = errand.envelope(row, way, way.recipients)
        try:
            results = await provider.send(envelope, errand.body, began + self.terms.attempt_seconds)
        except Exception as bug:  # noqa: BLE001 - nobody knows how far it came, and the account's policy says what then
            self._log.exception("provider broke", message=str(errand.job.id), provider=row.name, attempt=n)
            results = _unknown(way.recipients, f"{type(bug).__name__} while it was being sent")
        told = {each.n for each in results}
        results += _unknown([each for each in way.recipients if each.n not in told], "the provider did not say")
        capabilities = provider.capabilities
        evidence = _ASK_AGAIN_SECONDS if capabilities.idempotent else capabilities.evidence_seconds
        errand.land(n, results, evidence)
        self._journal.attempt(errand, row, results, loop.time() - began)
        return results


def _unknown(recipients: Sequence[Pending], text: str) -> list[RecipientResult]:
    return Answer(Outcome.UNKNOWN, None, None, text).to([each.n for each in recipients])
