"""Whether a provider is left alone, as this worker and the others find."""

from uuid import UUID

import structlog

from backing.shares import claim
from mail.breaker import ELSEWHERE_SECONDS, PROBE_SECONDS, Breaker, Cause, Condition, Event
from mail.control_notes import breaker_note, read_breaker
from mail.errors import Unavailable
from worker.control.admission import SHORTEST_SECONDS, Refusal
from worker.control.board import Board


class Health:
    """A provider's breaker: judged here, told to the other workers, and heard from them.

    Args:
        provider_id: which provider.
        name: what its operator calls it.
        board: where workers leave word.
    """

    def __init__(self, provider_id: UUID, name: str, board: Board) -> None:
        self._id = provider_id
        self._name = name
        self._board = board
        self._probe = f"probe:{provider_id}"
        self._version = 0
        self.breaker = Breaker()
        self._show()

    @property
    def closed(self) -> bool:
        """Whether mail goes through."""
        return self.breaker.condition is Condition.CLOSED

    def after(self, event: Event, now: float, *, probe: bool = False) -> None:
        """Take in what became known, by a probe or by other mail."""
        if probe:
            self._board.release(self._probe)
        if event.cause is Cause.MISCONFIGURED and event.version < self._version:
            return  # mended meanwhile
        before = self.breaker
        self.breaker = before.after(event, now)
        if self.breaker.since != before.since:
            self._changed(before)

    def allow(self, now: float) -> None:
        """Let a provider be tried that was left alone for the day: it says that there is quota again."""
        if self.breaker.condition is Condition.OPEN and self.breaker.cause is Cause.EXHAUSTED:
            self.breaker = self.breaker.put_off(now)

    def reconfigured(self, version: int, now: float) -> None:
        """Take in that there is a new configuration."""
        self._version = version
        before = self.breaker
        self.breaker = before.for_version(version, now)
        if self.breaker is not before:
            self._changed(before)

    def adopt(self, data: bytes | None, now: float) -> None:
        """Take in what another worker left word of; the latest counts."""
        heard = read_breaker(data, now)
        if heard is not None and heard.since > self.breaker.since:
            self.breaker = heard.for_version(self._version, heard.since)
            self._show()

    def refusal(self, now: float) -> Refusal:
        """What to say while mail does not go through."""
        breaker = self.breaker
        probed = breaker.condition is Condition.HALF_OPEN
        seconds = ELSEWHERE_SECONDS if probed else max(breaker.until - now, SHORTEST_SECONDS)
        return Refusal(seconds, "breaker", breaker.cause or "")

    async def may_probe(self, now: float) -> bool:
        """Whether this worker may send the one message that is a probe; without the cache each worker may send one."""
        if not self.breaker.may_probe(now):
            return False
        # At once, so that nobody else in this worker asks meanwhile.
        mine = self.breaker = self.breaker.probing(now)
        self._show()
        try:
            await self._board.write()  # a claim that has ended may not stand in the way, nor its end come later
            [got] = await self._board.cache.ask([claim(self._probe, self._board.owner, int(PROBE_SECONDS))])
        except Unavailable:
            got = True
        except BaseException:
            self.put_off(now)
            raise
        if self.breaker is not mine:  # another worker's word came meanwhile
            if got:
                self._board.release(self._probe)
            return False
        if not got:
            self._wait(now + ELSEWHERE_SECONDS)
        return bool(got)

    def put_off(self, now: float) -> None:
        """Take in that a probe was not sent."""
        self._board.release(self._probe)
        if self.breaker.condition is Condition.HALF_OPEN:
            self._wait(now + SHORTEST_SECONDS)

    def _wait(self, until: float) -> None:
        self.breaker = self.breaker.put_off(until)
        self._show()

    def _changed(self, before: Breaker) -> None:
        """Tell of a breaker that opened or closed here."""
        self._board.note(self._id, "breaker", breaker_note(self.breaker))
        self._show()
        log = structlog.get_logger().bind(provider=self._name, provider_id=str(self._id))
        if self.closed:
            log.info("provider used again")
        elif self.breaker.cause is not before.cause or before.condition is Condition.CLOSED:
            log.warning("provider left alone", cause=self.breaker.cause, seconds=round(self.breaker.wait, 1))

    def _show(self) -> None:
        self._board.metrics.show_breaker(self._name, str(self._id), self.breaker.condition)
