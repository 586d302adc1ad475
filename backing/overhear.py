"""The operator's ear: asks the relays for a transcript and prints what they hand on, until it is told to stop."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from backing import ids
from backing.cache import Cache
from backing.notices import Notice, publish

CHANNEL = "transcript:"
# Relays stop 30 s after the last demand; one that starts meanwhile hears the next.
DEMAND_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Demand:
    """Whose sessions are wanted: those of an account, of a network, or of an account from a network."""

    account: str | None = None
    network: str | None = None


async def overhear(cache: Cache, demand: Demand, write: Callable[[str], None]) -> None:
    """Write the lines of the sessions that are wanted, as they are said, until cancelled.

    Raises:
        Unavailable: the cache is away, or went away.
    """
    name = str(ids.new_id())
    subject = json.dumps({"id": name, "account": demand.account, "network": demand.network})
    try:
        async with cache.subscription(CHANNEL + name) as subscription, asyncio.TaskGroup() as tasks:
            tasks.create_task(_ask_again(cache, Notice("transcript", subject)))
            while True:
                write(shown(await subscription.next()))
    except BaseExceptionGroup as faults:
        # Not `except*`, which would raise a group again.
        raise _first(faults) from None


async def _ask_again(cache: Cache, notice: Notice) -> None:
    while True:
        await publish(cache, notice)
        await asyncio.sleep(DEMAND_SECONDS)


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    fault: BaseException = faults
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def shown(line: bytes) -> str:
    """Write what a relay handed on for people: time (UTC), session, peer, who, words."""
    said = json.loads(line)
    return f"{said['at'][11:23]} {said['session']} {said['peer']} {said['who']}: {said['line']}"
