"""What follows of providers' events beside their rows: they are counted, and relays hear of suppressed addresses."""

from collections.abc import Sequence

import structlog

from backing.cache import Cache
from backing.ids import now
from backing.metrics import EventMetrics
from backing.notices import Notice, publish
from backing.postgres.events import Recorded
from mail.errors import Unavailable
from mail.events.effects import Effect
from mail.events.event import Told


class Aftermath:
    """Tells of events once they are recorded.

    Args:
        metrics: count them.
        cache: carries word to the relays, which would else look at a suppression list a minute later.
    """

    def __init__(self, metrics: EventMetrics, cache: Cache | None = None) -> None:
        self._metrics = metrics
        self._cache = cache
        self._log = structlog.get_logger()

    def read(self, told: Told) -> None:
        """Count what a call told that is not recorded."""
        self._metrics.unread.labels("ignored").inc(len(told.ignored))
        self._metrics.unread.labels("malformed").inc(len(told.faults))

    def foreign(self, count: int) -> None:
        """Count events of no provider that is known."""
        self._metrics.unread.labels("foreign").inc(count)

    async def recorded(self, recorded: Sequence[Recorded], *, again: bool = False) -> None:
        """Count what became of events, and tell relays of new entries in suppression lists.

        Args:
            recorded: as `Events.record` and `Events.rematch` give it.
            again: whether they were looked at before; then only what has changed counts.
        """
        for each in recorded:
            if again and each.effect in {Effect.WAITING, Effect.UNMATCHED}:
                continue
            self._metrics.events.labels(each.event.kind, each.effect).inc()
            if each.suppressed and each.event.suppress:
                self._metrics.suppressed.labels(each.event.suppress).inc()
            if not again and each.effect is not Effect.DUPLICATE:
                self._metrics.lag_seconds.observe(max((now() - each.event.occurred_at).total_seconds(), 0))
        await self._publish({str(each.account_id) for each in recorded if each.suppressed})

    async def _publish(self, accounts: set[str]) -> None:
        if self._cache is None or not self._cache.configured:
            return
        for account in sorted(accounts):
            try:
                await publish(self._cache, Notice("suppression", account))
            except Unavailable as fault:
                self._log.debug("relays not told of suppressions", account=account, reason=str(fault))
