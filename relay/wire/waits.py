"""Waiting for the peer: how long, how slowly, and who wakes whom."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from mail.errors import Reply
from relay import replies
from relay.wire.lines import Lines
from relay.wire.outbox import Outbox
from relay.wire.timers import Pace, Timer, Timers

# Above this much unread input the transport is paused, above this much unsent output the session is.
MAX_BUFFER: Final = 65_536


class Goodbye(Exception):  # noqa: N818 - an ending, not an error
    """The session ends; says why, for the log, and carries the last reply where there is one."""

    def __init__(self, why: str, reply: Reply | None = None) -> None:
        self.why = why
        self.reply = reply
        super().__init__(why)


class Waits(Lines):
    """A connection that is waited for, but not without end.

    Args:
        loop: the event loop.
        timers: how long it waits for the peer.
        outbox: when what is to be said is said.

    Attributes:
        busy: whether something is under way that does not end with the peer, and after which there is more to say.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers, outbox: Outbox) -> None:
        super().__init__(outbox)
        self.loop = loop
        self._timers = timers
        self._waiter: asyncio.Future[None] | None = None
        self._limit: Timer = timers.command
        self._since = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = math.inf
        self._pace: Pace | None = None
        self._writable = True
        self._reading = True
        self._ended = False
        self.busy = False

    def heard(self) -> None:
        """Take note of input that has come."""
        self._wake()

    @property
    def line_timer(self) -> Timer:
        """How long the next line may take."""
        return self._timers.command

    async def read_line(self, timer: Timer | None = None) -> bytes:
        """Wait for the next line and give it without its CRLF.

        Args:
            timer: how long it may take from now, octet by octet or not; by default as the state of the session asks.

        Raises:
            LineTooLong: it was; the input stands behind it.
            Goodbye: the peer is gone, too slow or told to leave.
        """
        self.expect(timer or self.line_timer)
        while not self._writable or (line := self.take_line()) is None:
            await self._more()
        return line

    async def read_piece(self, most: int | None = None) -> bytes:
        """Give what came of a message, at least one octet.

        Args:
            most: how many octets it may be; by default as many as there are.

        Raises:
            Goodbye: the peer is gone, silent, slower than a message may be, or told to leave.
        """
        self.expect(self._timers.data)
        while not self._input:
            await self._more()
        piece = self.take_input(most)
        self.keep_pace(len(piece))
        return piece

    def keep_pace(self, octets: int) -> None:
        """Note that so much came of a message that is not at its end, after as long as we have waited for it.

        Raises:
            Goodbye: that is slower than a message may be.
        """
        pace = self._pace = self._pace or Pace(self._timers.rate, self._timers.window_seconds)
        if not pace.keeps(self.loop.time() - self._since, octets):
            raise Goodbye("too slow", replies.TOO_SLOW)

    @property
    def gone(self) -> bool:
        """Whether nothing more will come from the peer."""
        return self._ended

    def interrupt(self, end: Exception) -> None:
        """Let the wait for the peer end so, if there is one."""
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(end)

    def expect(self, timer: Timer) -> None:
        """Give the peer so long from now on for what it is to do next."""
        self._limit = timer
        self._since = now = self.loop.time()
        # One alarm for a session, not one for a command: an early one looks and goes on.
        if now + timer.seconds < self._alarm_at:
            self._rearm(timer.seconds, self._check_time)

    async def _more(self) -> None:
        """Give the peer what it is due and wait for it: for input, for room to write, for its end."""
        self.flush_soon()
        if self._ended and not self.busy:
            raise Goodbye("gone")
        if not self._reading and len(self._input) <= MAX_BUFFER:
            self._reading = True
            self.transport.resume_reading()
        left = self._time_left()
        if left <= 0:
            raise Goodbye(self._limit.why, self._limit.reply)
        if self._alarm is None:
            self._rearm(left, self._check_time)
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _check_time(self) -> None:
        """End a wait that was too long; between waits, the next one sets the alarm again."""
        self._disarm()
        left = self._time_left()
        if self._waiter is None:
            return
        if left > 0:
            self._rearm(left, self._check_time)
        else:
            self.interrupt(Goodbye(self._limit.why, self._limit.reply))

    def _time_left(self) -> float:
        return self._since + self._limit.seconds - self.loop.time()

    def _rearm(self, seconds: float, action: Callable[[], None]) -> None:
        self._disarm()
        self._alarm_at = self.loop.time() + seconds
        self._alarm = self.loop.call_later(seconds, action)

    def _disarm(self) -> None:
        if self._alarm:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, math.inf
