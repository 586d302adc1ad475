"""Many messages: at a rate, over a few connections that are kept."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from client.compose import Message
from client.dialogue import Say
from client.errors import AuthError, ClientError, InterruptError, NoConnectionError, TlsError
from client.letters import Letters
from client.replies import Reply
from client.session import Access, Attempt, Session

# Failures that every further message would share; wrong credentials tried again and again lock an account.
STOPPING = (TlsError, AuthError)


@dataclass(frozen=True, slots=True)
class Pace:
    """How many, how fast (messages per second, None is as fast as it goes), over how many connections."""

    count: int = 1
    rate: float | None = None
    concurrency: int = 1
    per_connection: int = 100

    def due(self, index: int) -> float:
        """Return when message `index` (the first is 1) may leave, in seconds after the start."""
        return (index - 1) / self.rate if self.rate else 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message; a phase that was done for an earlier one is not in `spent`."""

    index: int
    message: Message | None
    reply: Reply | None
    refused: dict[str, Reply]
    spent: dict[str, float]
    error: ClientError | None

    @property
    def accepted(self) -> bool:
        """Whether the server took it for at least one recipient."""
        return self.reply is not None

    @property
    def partial(self) -> bool:
        """Whether the server took it, but not for everyone."""
        return self.accepted and bool(self.refused)


@dataclass(slots=True)
class Ledger:
    """What has happened so far in a run."""

    asked: int
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    connections: int = 0
    accepted: int = 0
    results: list[Result] = field(default_factory=list)
    stopped_by: ClientError | None = None

    def add(self, result: Result) -> None:
        """Note a finished message."""
        self.results.append(result)
        self.accepted += result.accepted
        self.seconds = time.monotonic() - self.started

    @property
    def failures(self) -> list[ClientError]:
        """The errors, in the order they came."""
        return [result.error for result in self.results if result.error]


class Batch:
    """A run of messages; `progress` is called after each of them."""

    def __init__(self, access: Access, letters: Letters, pace: Pace, progress: Callable[[Ledger], None]) -> None:
        self.ledger = Ledger(asked=pace.count)
        self._access = access
        self._letters = letters
        self._pace = pace
        self._progress = progress
        self._indexes = iter(range(1, pace.count + 1))
        self._stop = asyncio.Event()
        self._first_open = asyncio.Event()  # one connection tries the door, the others follow

    async def run(self, say: Say) -> None:
        """Send them all, or stop where no other could succeed."""
        self.ledger.started = time.monotonic()
        async with asyncio.TaskGroup() as workers:
            for number in range(1, min(self._pace.concurrency, self._pace.count) + 1):
                workers.create_task(self._worker(number, _numbered(say, number) if self._pace.concurrency > 1 else say))

    async def _worker(self, number: int, say: Say) -> None:
        if number > 1:
            await self._first_open.wait()
        session = Session(self._access, say)
        try:
            for index in self._indexes:
                if await self._stopped_before(self._pace.due(index)):
                    return
                if session.sent >= self._pace.per_connection or (session.sent and not session.usable):
                    await session.close()
                    session = Session(self._access, say)
                await self._deliver(index, session)
        except asyncio.CancelledError:
            session.abort()
            raise
        finally:
            await session.close()

    async def _stopped_before(self, due: float) -> bool:
        delay = self.ledger.started + due - time.monotonic()
        if delay > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay)
        return self._stop.is_set()

    async def _deliver(self, index: int, session: Session) -> None:
        attempt = Attempt()
        error: ClientError | None = None
        try:
            if not session.usable:
                self.ledger.connections += 1
                await session.open()
                self._first_open.set()
            await session.send(partial(self._write, index), attempt)
        except ClientError as failure:
            error = failure
        except asyncio.CancelledError:
            if attempt.message:
                stopped = InterruptError("interrupted; whether the message was accepted is unknown")
                self._note(index, attempt, session, stopped)
            raise
        self._note(index, attempt, session, error)

    def _write(self, index: int, eight_bit: bool) -> Message:  # noqa: FBT001 - the callback that Session.send takes
        return self._letters.write(index, eight_bit=eight_bit)

    def _note(self, index: int, attempt: Attempt, session: Session, error: ClientError | None) -> None:
        self.ledger.add(Result(index, attempt.message, attempt.reply, attempt.refused, session.spent(), error))
        if isinstance(error, STOPPING) or (isinstance(error, NoConnectionError) and not self.ledger.accepted):
            self.ledger.stopped_by = self.ledger.stopped_by or error
            self._stop.set()
        self._first_open.set()
        self._progress(self.ledger)


def _numbered(say: Say, number: int) -> Say:
    return lambda line: say(f"[{number}] {line}")
