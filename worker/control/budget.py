"""How much may be sent to a provider now: its rate and its day, as configured, as it says itself, and as learned."""

from typing import Final
from uuid import UUID

from mail.control_notes import Reading, pace_note, read_pace
from mail.limits import Limits, day_of, least
from mail.pace import Pace, unhurried
from worker.control.admission import SHORTEST_SECONDS, Refusal
from worker.control.allowance import Allowance
from worker.control.board import Board
from worker.control.tokens import Tokens

# A quota that could not be read for so long bounds nothing any more.
_STALE_SECONDS: Final = 900.0
# What a provider's own quota bounds may change with each reading.
_QUOTA_SECONDS: Final = 60.0
# Tokens are sums of slices; so little is not missing.
_ROUNDING: Final = 1e-3


class Budget:
    """What this worker may spend of a provider.

    Args:
        provider_id: which provider.
        name: what its operator calls it.
        board: where workers leave word.
        share: of everything, while the cache is away.
    """

    def __init__(self, provider_id: UUID, name: str, board: Board, share: float) -> None:
        self._id = provider_id
        self._name = name
        self._board = board
        self._share = share
        self._tokens = Tokens(board.cache, f"rate:{provider_id}", share)
        self._allowance = Allowance(board.cache, f"day:{provider_id}", share)
        self._limits = Limits()
        self._pace: Pace | None = None
        self._taken = 0
        self._taken_since = board.clock()
        self._observed = 0.0
        self.reading: Reading | None = None
        # Nothing to count: most providers, most of the time.
        self.free = True
        # What the message that is granted next counts for.
        self._by_day = self._by_rate = False

    def configure(self, limits: Limits) -> None:
        """Take in limits."""
        self._limits = limits
        if limits.rate is not None and self._pace:
            self._pace = self._pace.within(limits.rate)
        self._allowance.moisten()
        self._judge()

    def rate(self, now: float) -> float | None:
        """Recipients per second now, of all workers."""
        rate = self._configured(now)
        if self._pace is None:
            return rate
        if self._pace.recovered(now):
            self._pace = None
            self._show(None)
            self._judge()
            return rate
        return least(rate, self._pace.at_time(now))

    def cap(self, now: float) -> int | None:
        """Recipients of this day, of all workers."""
        day, reading = day_of(now), self._reading(now)
        return least(self._limits.cap(day), reading.cap(day, day_of(reading.at)) if reading else None)

    def short(self, recipients: int, now: float) -> Refusal | None:
        """What there is too little of here, or None; `fill` may get more."""
        if self.free:
            return None
        rate = self.rate(now)
        self._by_day, self._by_rate = self.cap(now) is not None, rate is not None
        if self._by_day and not self._allowance.enough(recipients, now):
            wait = self._allowance.wait(now)
            return Refusal(min(wait, _QUOTA_SECONDS) if self._reading(now) else wait, "daily")
        if rate is None:
            return None
        if self._pace and now < self._pace.hold:
            return Refusal(self._pace.hold - now, "rate")
        # A large message is paid for afterwards: it would wait for ever where small ones take what comes.
        missing = min(recipients, self._burst(rate), max(rate, 1.0)) - self._tokens.left
        return Refusal(max(missing / rate, SHORTEST_SECONDS), "rate") if missing > _ROUNDING else None

    def final(self, refusal: Refusal, now: float) -> bool:
        """Whether no wait helps."""
        return refusal.reason == "daily" and self._allowance.dry(now)

    def take(self, recipients: int) -> None:
        """Spend, right after `short` found nothing."""
        self._taken += recipients
        if self._by_rate:
            self._tokens.left -= recipients
        if self._by_day:
            self._allowance.left -= recipients

    def give_back(self, recipients: int) -> None:
        """Count what was not spent after all."""
        self._taken -= recipients
        if self._by_rate:
            self._tokens.left += recipients
        self._allowance.refund(recipients)

    def not_sent(self, recipients: int) -> None:
        """Count for the day none that the provider did not take; for its rate they count, since it was asked."""
        self._allowance.refund(recipients)

    def throttled(self, retry_after: float | None, now: float) -> None:
        """Take in that the provider found us too fast."""
        limit = self._configured(now)
        if limit is None and self._pace is None:
            limit = self._estimate(now)
        before = self._pace or unhurried(limit or 1.0)
        self._pace = before.slowed(now, retry_after)
        if self._pace is not before:
            self._board.note(self._id, "pace", pace_note(self._pace))
        self._show(self._pace.rate)
        self._judge()

    def measure(self, now: float) -> None:
        """Note how much was sent lately, and show how far a learned rate has come back."""
        if now > self._taken_since:
            self._observed = self._taken / (now - self._taken_since)
            self._taken, self._taken_since = 0, now
        rate = self.rate(now)
        if self._pace:
            self._show(rate)

    def adopt(self, pace: bytes | None, now: float) -> None:
        """Take in the pace that another worker left word of; the latest counts."""
        slowed = read_pace(pace, now)
        if slowed and (self._pace is None or slowed.at > self._pace.at) and not slowed.recovered(now):
            self._pace = slowed if self._limits.rate is None else slowed.within(self._limits.rate)
            self._show(self._pace.rate)
            self._judge()

    def read(self, reading: Reading) -> None:
        """Take in what the provider says of itself."""
        self.reading = reading
        self._allowance.moisten()
        self._judge()

    async def fill(self, first: int, all_waiting: int, now: float) -> None:
        """Get more from what all workers share.

        Args:
            first: recipients of the message that is next.
            all_waiting: recipients of all that wait.
            now: Unix time.
        """
        cap, rate = self.cap(now), self.rate(now)
        if cap is not None and not self._allowance.dry(now):
            await self._allowance.fill(cap, first, now)
        if rate is not None and not (self._pace and now < self._pace.hold):
            await self._tokens.fill(rate, self._burst(rate), all_waiting, now)

    async def put_back(self, now: float) -> None:
        """Let the other workers have what is not used here."""
        rate = self.rate(now)
        if rate is not None:
            await self._tokens.put_back(rate, self._burst(rate), now)
        if self._allowance.left:
            await self._allowance.put_back(now)

    async def used_today(self, now: float) -> int:
        """What all workers together have drawn of this day."""
        await self._allowance.put_back(now)
        return self._allowance.used

    def _configured(self, now: float) -> float | None:
        reading = self._reading(now)
        return least(self._limits.rate, reading.quota.rate if reading else None)

    def _reading(self, now: float) -> Reading | None:
        return self.reading if self.reading and now - self.reading.at < _STALE_SECONDS else None

    def _burst(self, rate: float) -> float:
        return float(self._limits.burst or max(rate, 1.0))

    def _estimate(self, now: float) -> float:
        """What all workers send in a second, as far as one of them can tell."""
        lately = self._taken / max(now - self._taken_since, 1.0)
        return max(self._observed, lately, 1.0) / self._share

    def _judge(self) -> None:
        """Say whether there is anything to count."""
        limits = self._limits
        bounds = (limits.rate, limits.daily, limits.warm_up, self._pace, self.reading)
        self.free = all(bound is None for bound in bounds)
        if self.free:
            self._by_day = self._by_rate = False

    def _show(self, rate: float | None) -> None:
        self._board.metrics.show_rate(self._name, str(self._id), rate)
