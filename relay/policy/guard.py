"""Holds back who connects or guesses too often, together with the other relays; `mail.throttle` has the rules."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, get_args

from backing.cache import Cache, Command, add, get, put
from backing.settings import Network
from mail.errors import Reply, Unavailable
from mail.throttle import (
    ADDRESS_GOOD_SECONDS,
    CONNECTION_WINDOW,
    FAILURE_WINDOW,
    PAIR_GOOD_SECONDS,
    Attempt,
    Failures,
    Scope,
    Window,
    address_holds,
    parse_address,
    source,
    too_many_connections,
    too_many_failures,
    username_holds,
)

# How long a decision waits for what the other relays have counted.
DECISION_SECONDS: Final = 0.1
_FLUSH_SECONDS: Final = 0.1
_BATCH: Final = 200
# Most names of each sort that are remembered; the oldest make room.
MAX_NAMES: Final = 50_000
MAX_NOTES: Final = 10_000
# A good sign-in is told again after this share of the time that it speaks for.
_RENEWAL_SHARE: Final = 1 / 60

_SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator has set.

    Attributes:
        connections_per_minute: of an address from which nobody signed in well in the last hour; 0 is no limit.
        exempt: networks of many users: no limits of connections or of failures by address.
    """

    connections_per_minute: int = 10
    exempt: tuple[Network, ...] = ()

    def exempts(self, peer: str) -> bool:
        """Whether an address is in one of the exempt networks."""
        address = parse_address(peer) if self.exempt else None
        return address is not None and any(address in network for network in self.exempt)


class Guard:
    """Decides who may connect and who may try to sign in.

    What it counts it knows at once and tells the others a little later, so nobody waits for that. It asks for the
    counts of the others only where it matters: for peers of which it knows nothing good. While the cache is away it
    goes by its own counts.

    Args:
        cache: where the relays meet.
        rules: what the operator has set; may be replaced at any time.
        clock: Unix time.
    """

    def __init__(self, cache: Cache, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._cache = cache
        self._clock = clock
        self._failures = _Counts(FAILURE_WINDOW)
        self._connections = _Counts(CONNECTION_WINDOW)
        # Who signed in well, and until when that speaks for him. No failure of a stranger takes room here.
        self._good: dict[str, float] = {}
        self._notes: dict[str, _Note] = {}
        self._noted = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Guard"]:
        """Tell the other relays what is counted here, until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._keep_telling())
            try:
                yield self
            finally:
                telling.cancel()
        await self._tell()

    async def admit(self, peer: str) -> Reply | None:
        """Count a connection; give what there is against it (CORE-SMTP-006)."""
        limit = self.rules.connections_per_minute
        if not limit or self.rules.exempts(peer):
            return None
        now, address = self._clock(), source(peer)
        window = Window.at(now, CONNECTION_WINDOW)
        if self._speaks_for(_good_address(address), now):
            return None
        count = self._connections.add(window, address)
        if count <= limit:
            key = f"connections:{window.start}:{address}"
            await self._learn_connections(window, address, add(key, 1, CONNECTION_WINDOW))
            count = self._connections.get(window, address)
        if count <= limit or self._speaks_for(_good_address(address), now):
            return None
        return too_many_connections(window.wait(now))

    async def address_objection(self, peer: str, username: str) -> Reply | None:
        """Give what there is against an attempt to sign in, before anything else is done about it."""
        now, attempt = self._clock(), Attempt.of(peer, username)
        window = Window.at(now, FAILURE_WINDOW)
        if not self._speaks_for(_good_pair(attempt), now):
            await self._learn_failures(window, attempt)
        good, exempt = self._speaks_for(_good_pair(attempt), now), self.rules.exempts(peer)
        held = address_holds(self._failures_of(window, attempt), pair_good=good, address_exempt=exempt)
        return too_many_failures(window.wait(now)) if held else None

    async def username_objection(self, peer: str, username: str) -> Reply | None:
        """Give what there is against an attempt whose credential has a password that somebody chose.

        Called after `address_objection`, which has learnt all there is to know.
        """
        now, attempt = self._clock(), Attempt.of(peer, username)
        window = Window.at(now, FAILURE_WINDOW)
        good = self._speaks_for(_good_pair(attempt), now)
        held = username_holds(self._failures_of(window, attempt), pair_good=good)
        return too_many_failures(window.wait(now)) if held else None

    def failed(self, peer: str, username: str) -> None:
        """Count an attempt that was checked and failed, not one that was held back or could not be checked."""
        attempt, window = Attempt.of(peer, username), Window.at(self._clock(), FAILURE_WINDOW)
        for scope in _SCOPES:
            if scope == "address" and self.rules.exempts(peer):
                continue
            key = attempt.key(scope)
            self._failures.add(window, key)
            self._note(_failure_key(window, key), _Note(1, FAILURE_WINDOW, counts=True))

    def succeeded(self, peer: str, username: str) -> None:
        """Remember a good sign-in: it speaks for the username at this address, and for the address."""
        now, attempt = self._clock(), Attempt.of(peer, username)
        for key, seconds in (
            (_good_pair(attempt), PAIR_GOOD_SECONDS),
            (_good_address(attempt.address), ADDRESS_GOOD_SECONDS),
        ):
            until = now + seconds
            if until - self._good.get(key, 0) >= seconds * _RENEWAL_SHARE:
                self._remember_good(key, until)
                self._note(key, _Note(int(until), seconds, counts=False))

    def _speaks_for(self, key: str, now: float) -> bool:
        return self._good.get(key, 0) > now

    def _remember_good(self, key: str, until: float) -> None:
        self._good.pop(key, None)
        _make_room(self._good, MAX_NAMES)
        self._good[key] = until

    def _failures_of(self, window: Window, attempt: Attempt) -> Failures:
        return Failures(*(self._failures.get(window, attempt.key(scope)) for scope in _SCOPES))

    async def _learn_failures(self, window: Window, attempt: Attempt) -> None:
        keys = [attempt.key(scope) for scope in _SCOPES]
        good = _good_pair(attempt)
        answers = await self._ask(*(get(_failure_key(window, key)) for key in keys), get(good))
        for key, count in zip(keys, answers, strict=False):
            self._failures.learn(window, key, int(count or 0))
        self._learn_good(good, answers)

    async def _learn_connections(self, window: Window, address: str, counting: Command) -> None:
        good = _good_address(address)
        answers = await self._ask(counting, get(good))
        if answers:
            self._connections.learn(window, address, int(answers[0]))
        self._learn_good(good, answers)

    def _learn_good(self, key: str, answers: list[Any]) -> None:
        """The last answer says until when, if there is one and it says anything."""
        if answers and answers[-1]:
            self._remember_good(key, float(answers[-1]))

    async def _ask(self, *commands: Command) -> list[Any]:
        """Give the answers, or none at all while the cache is away."""
        try:
            return await self._cache.ask(commands, DECISION_SECONDS)
        except Unavailable:
            return []

    def _note(self, key: str, note: "_Note") -> None:
        earlier = self._notes.pop(key, None)
        _make_room(self._notes, MAX_NOTES)
        self._notes[key] = note.after(earlier) if earlier else note
        self._noted.set()

    async def _keep_telling(self) -> None:
        while True:
            await self._noted.wait()
            await asyncio.sleep(_FLUSH_SECONDS)
            self._noted.clear()
            await self._tell()

    async def _tell(self) -> None:
        """Tell what was noted. What the cache does not take now it is not told again: we go on by our own counts."""
        notes, self._notes = list(self._notes.items()), {}
        try:
            for start in range(0, len(notes), _BATCH):
                await self._cache.ask([note.command(key) for key, note in notes[start : start + _BATCH]])
        except Unavailable:
            # But who signed in well is told at his next sign-in again.
            for key, note in notes:
                if not note.counts and key in self._good:
                    self._good[key] -= note.seconds * _RENEWAL_SHARE


@dataclass(frozen=True, slots=True)
class _Note:
    """What the cache is to be told: a number to add, or one to keep."""

    number: int
    seconds: int
    counts: bool

    def after(self, earlier: "_Note") -> "_Note":
        return _Note(self.number + earlier.number, self.seconds, counts=True) if self.counts else self

    def command(self, key: str) -> Command:
        return add(key, self.number, self.seconds) if self.counts else put(key, b"%d" % self.number, self.seconds)


class _Counts:
    """Counts of the current window, of a bounded number of names."""

    def __init__(self, seconds: int) -> None:
        self._window = Window(0, seconds)
        self._counts: dict[str, int] = {}

    def get(self, window: Window, key: str) -> int:
        return self._counts.get(key, 0) if window == self._window else 0

    def add(self, window: Window, key: str) -> int:
        return self._set(window, key, self.get(window, key) + 1)

    def learn(self, window: Window, key: str, count: int) -> None:
        """Take in a count of all relays, ours with it."""
        if count > self.get(window, key):
            self._set(window, key, count)

    def _set(self, window: Window, key: str, count: int) -> int:
        if window.start < self._window.start:
            # The window ended while its counts were asked for.
            return count
        if window != self._window:
            self._window, self._counts = window, {}
        self._counts.pop(key, None)
        _make_room(self._counts, MAX_NAMES)
        self._counts[key] = count
        return count


def _make_room(names: dict[str, Any], most: int) -> None:
    if len(names) >= most:
        del names[next(iter(names))]


def _failure_key(window: Window, key: str) -> str:
    return f"failures:{window.start}:{key}"


def _good_pair(attempt: Attempt) -> str:
    return f"good:pair:{attempt.pair}"


def _good_address(address: str) -> str:
    return f"good:address:{address}"
