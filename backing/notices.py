"""Change notices: what changed in PostgreSQL, told to whoever keeps a copy, through the cache.

A notice makes things faster and is never needed: it may be lost, so copies have an age of their own as well.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, get_args

import structlog

from backing.cache import Cache, Pace
from backing.cache import publish as publication
from mail.errors import Unavailable

CHANNEL: Final = "changes"
Kind = Literal["account", "credential", "suppression", "transcript", "routing", "inquiry"]
_KINDS: Final[dict[str, Kind]] = {kind: kind for kind in get_args(Kind)}
MAX_SUBJECT: Final = 500
# Subject of a notice that concerns every account, as a change of a shared provider does.
ALL_ACCOUNTS: Final = "*"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something changed.

    Attributes:
        kind: what it is.
        subject: which one: the id of an account, the name of a credential, and so on.
    """

    kind: Kind
    subject: str


class MalformedNotice(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """What came in on the channel is no notice."""


def encode(notice: Notice) -> bytes:
    """Write a notice down."""
    return json.dumps({"kind": notice.kind, "subject": notice.subject}, separators=(",", ":")).encode()


def decode(data: bytes) -> Notice:
    """Read a notice.

    Raises:
        MalformedNotice: it is none, or of a kind that this version does not know.
    """
    try:
        fields = json.loads(data)
        kind, subject = _KINDS[fields["kind"]], fields["subject"]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise MalformedNotice(type(fault).__name__) from None
    if not isinstance(subject, str) or len(subject) > MAX_SUBJECT:
        raise MalformedNotice("its subject is no short text")
    return Notice(kind, subject)


async def publish(cache: Cache, notice: Notice) -> None:
    """Tell every process that listens now.

    Raises:
        Unavailable: the cache is away; the copies grow old by themselves.
    """
    await cache.ask([publication(CHANNEL, encode(notice))])


class Listener:
    """Hears notices.

    Args:
        cache: what carries them.
        handlers: called with every notice, in turn; they are quick and do not raise.
        missed: called whenever a subscription begins, since notices may have been lost before: forget all copies.
        pace: the waits between attempts to subscribe.
    """

    def __init__(
        self,
        cache: Cache,
        handlers: Sequence[Callable[[Notice], None]],
        missed: Callable[[], None],
        pace: Pace | None = None,
    ) -> None:
        self._cache = cache
        self._handlers = handlers
        self._missed = missed
        # A revoked credential is refused within seconds, also where the subscription has just been lost.
        self._pace = pace or Pace(first=0.5, longest=5)
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Listener"]:
        """Listen until the block ends; where no cache is configured there is nothing to hear."""
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._listen()) if self._cache.configured else None
            try:
                yield self
            finally:
                if listening:
                    listening.cancel()

    async def _listen(self) -> None:
        wait = self._pace.first
        while True:
            try:
                async with self._cache.subscription(CHANNEL) as subscription:
                    wait = self._pace.first
                    self._missed()
                    while True:
                        self._hear(await subscription.next())
            except Unavailable as fault:
                self._log.debug("change notices interrupted", reason=str(fault), again_in_seconds=wait)
            await asyncio.sleep(wait)
            wait = min(2 * wait, self._pace.longest)

    def _hear(self, data: bytes) -> None:
        try:
            notice = decode(data)
        except MalformedNotice as fault:
            self._log.warning("change notice not understood", reason=str(fault), octets=len(data))
            return
        for handler in self._handlers:
            try:
                handler(notice)
            except Exception:  # noqa: BLE001 - logged; one that fails may not keep the others from hearing
                self._log.exception("change notice not handled", kind=notice.kind)
