"""Live transcripts: what is said in the sessions of one account or address, on an operator's demand, without secrets.

An operator's command asks for it by a change notice and repeats that while it listens; what it asked for ends by itself
soon after the last one. While nobody listens, a session pays for one look at an attribute.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from backing import ids
from backing.cache import Cache, publish
from mail.errors import Unavailable

# A listener repeats its notice three times within this.
LEASE_SECONDS: Final = 30.0
MAX_WATCHES: Final = 20
# Longest line kept; what is longer is a client's mischief.
MAX_LINE: Final = 512
# The channel of a watch is this and its id.
_CHANNEL: Final = "transcript:"
# Lines that wait to be handed on; the oldest are dropped, for the mail goes on.
_MAX_WAITING: Final = 2000
_FLUSH_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Watch:
    """What somebody wants to overhear: the sessions of an account, of a network, or of an account from a network."""

    id: str
    account: str | None = None
    network: IPv4Network | IPv6Network | None = None

    def wants(self, peer: str, account: str | None) -> bool:
        """Whether a session of this peer, signed in to this account or to none yet, is wanted."""
        if self.account is not None and self.account != account:
            return False
        return self.network is None or _within(peer, self.network)


def read_watch(subject: str) -> Watch:
    """Read what the subject of a transcript notice asks for.

    Raises:
        ValueError: it asks for nothing that could be given.
    """
    asked = json.loads(subject)
    if not isinstance(asked, dict) or not isinstance(asked.get("id"), str):
        raise ValueError("a transcript notice needs an id")  # noqa: TRY004 - one kind of fault for the caller
    account, network = asked.get("account"), asked.get("network")
    if account is None and network is None:
        raise ValueError("a transcript notice names an account or a network")
    return Watch(asked["id"], account, ip_network(network, strict=False) if network else None)


class Speaker(Protocol):
    """What a transcript needs to know of a session: relay.smtp.visit.Visit has it."""

    id: str
    peer: str

    @property
    def account_name(self) -> str | None:
        """The account it signed in to, or None."""


class Transcripts:
    """Decides which sessions are overheard, and hands their lines on.

    Args:
        hand_on: takes the id of a watch and a line for it; must not wait.
        clock: seconds that only ever grow.

    Attributes:
        active: whether anybody listens.
    """

    def __init__(self, hand_on: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._hand_on = hand_on
        self._clock = clock
        self._watches: dict[Watch, float] = {}
        self.active = False

    def watch(self, subject: str) -> None:
        """Overhear what a notice asks for until its lease ends, or for longer if it asks again.

        Raises:
            ValueError: it asks for nothing that could be given, or too many listen already.
        """
        watch = read_watch(subject)
        self._expire()
        if watch not in self._watches and len(self._watches) >= MAX_WATCHES:
            raise ValueError(f"{MAX_WATCHES} transcripts are being listened to already")
        self._watches[watch] = self._clock() + LEASE_SECONDS
        self.active = True

    def client(self, speaker: Speaker, words: str) -> None:
        """Hand on a command, of which `relay.smtp.masking` has taken what may be a secret."""
        self._say(speaker, "C", words)

    def response(self, speaker: Speaker) -> None:
        """Hand on that a SASL challenge was answered."""
        self._say(speaker, "C", "***")

    def content(self, speaker: Speaker, octets: int) -> None:
        """Hand on that a message, or a piece of one, was sent."""
        self._say(speaker, "C", f"({octets} octets of mail)")

    def server(self, speaker: Speaker, reply: str) -> None:
        """Hand on a reply."""
        for line in reply.split("\r\n"):
            self._say(speaker, "S", line)

    def note(self, speaker: Speaker, what: str) -> None:
        """Hand on what happened to a session beside its words."""
        self._say(speaker, "*", what)

    def _say(self, speaker: Speaker, who: str, words: str) -> None:
        self._expire()
        wanted = [watch.id for watch in self._watches if watch.wants(speaker.peer, speaker.account_name)]
        if wanted:
            safe = "".join(c if c.isprintable() else "?" for c in words[:MAX_LINE])
            at = ids.now().isoformat(timespec="milliseconds")
            text = json.dumps({"at": at, "session": speaker.id, "peer": speaker.peer, "who": who, "line": safe})
            for watch in wanted:
                self._hand_on(watch, text)

    def _expire(self) -> None:
        now = self._clock()
        for watch in [watch for watch, until in self._watches.items() if until <= now]:
            del self._watches[watch]
        self.active = bool(self._watches)


def _within(peer: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(peer) in network
    except ValueError:
        return False


class Broadcast:
    """Hands the lines of transcripts to the cache's subscribers, a tenth of a second's in one go.

    Args:
        cache: who carries them; while it is away they are dropped.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._waiting: deque[tuple[str, str]] = deque(maxlen=_MAX_WAITING)
        self._arrived = asyncio.Event()

    def hand_on(self, watch: str, line: str) -> None:
        """Take a line; never waits."""
        self._waiting.append((watch, line))
        self._arrived.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Broadcast"]:
        """Hand lines on until the block ends, the last ones included."""
        async with asyncio.TaskGroup() as tasks:
            carrier = tasks.create_task(self._carry())
            try:
                yield self
            finally:
                carrier.cancel()
                await self._flush()

    async def _carry(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_FLUSH_SECONDS)
            await self._flush()

    async def _flush(self) -> None:
        self._arrived.clear()
        lines = list(self._waiting)
        self._waiting.clear()
        if lines:
            with suppress(Unavailable):
                await self._cache.ask([publish(_CHANNEL + watch, line.encode()) for watch, line in lines])
