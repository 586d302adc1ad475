"""Who hears of events once they are recorded."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from backing.aftermath import Aftermath
from backing.aws import Aws
from backing.cache import Cache
from backing.ids import new_id
from backing.metrics import EventMetrics
from backing.notices import Listener, Notice
from backing.postgres.events import Recorded
from backing.settings import CacheSettings
from mail.events.effects import Effect
from mail.events.event import Cause, Kind, Told
from tests.backing.mailbook import SHOP, event
from tests.conftest import REGION
from tests.waiting import until

pytestmark = pytest.mark.anyio

BOUNCED = event(Kind.BOUNCED, suppress=Cause.BOUNCE)


def recorded(effect: Effect, *, suppressed: bool = False, account: object = SHOP) -> Recorded:
    return Recorded(
        provider_id=SHOP,
        event=BOUNCED,
        effect=effect,
        account_id=account,  # type: ignore[arg-type]
        suppressed=suppressed,
    )


async def test_relays_hear_of_suppressed_addresses(valkey_url: str) -> None:
    account, heard, begun = new_id(), list[Notice](), asyncio.Event()
    settings = CacheSettings(database_url="postgresql://nobody@localhost/x", cache_url=valkey_url)
    async with Cache(settings, Aws(REGION)).opened() as cache:
        aftermath = Aftermath(EventMetrics(CollectorRegistry()), cache)
        async with Listener(cache, [heard.append], begun.set).running():
            await begun.wait()
            told = [recorded(Effect.APPLIED, suppressed=True, account=account)] * 2
            await aftermath.recorded([*told, recorded(Effect.APPLIED, account=new_id())])
            await aftermath.recorded([recorded(Effect.APPLIED, suppressed=True, account=SHOP)])
            await until(lambda: Notice("suppression", str(SHOP)) in heard)
    mine = [notice for notice in heard if notice.subject in {str(account), str(SHOP)}]
    assert mine == [Notice("suppression", str(account)), Notice("suppression", str(SHOP))]


async def test_a_cache_that_is_away_keeps_nobody() -> None:
    registry = CollectorRegistry()
    nowhere = CacheSettings(database_url="postgresql://nobody@localhost/x", cache_url="redis://127.0.0.1:1")
    async with Cache(nowhere, Aws(REGION)).opened() as cache:
        aftermath = Aftermath(EventMetrics(registry), cache)
        await aftermath.recorded([recorded(Effect.STALE, suppressed=True)])
        await aftermath.recorded([recorded(Effect.WAITING), recorded(Effect.APPLIED)], again=True)
    aftermath.read(Told((), ("a", "b"), ("c",)))
    aftermath.foreign(4)

    def seen(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    events = {effect: seen("provider_events_total", kind="bounced", effect=effect) for effect in Effect}
    assert events == {"applied": 1, "stale": 1, "waiting": None, "unmatched": None, "duplicate": None}
    unread = [seen("provider_events_unread_total", reason=name) for name in ("ignored", "malformed", "foreign")]
    assert unread == [2, 1, 4]
    assert seen("provider_events_suppressed_total", reason="bounce") == 1
    assert seen("provider_event_lag_seconds_count") == 1
