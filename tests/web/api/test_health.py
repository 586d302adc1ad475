"""The health of providers over the API: what workers leave word of is told."""

import time
from datetime import UTC, datetime

import pytest

from backing.shares import note, provider_record
from mail.breaker import Breaker, Cause, Condition
from mail.control_notes import Reading, breaker_note, pace_note, reading_note
from mail.limits import SendQuota
from mail.pace import Pace
from tests.backing.mailbook import BAKERY, Mailbook
from tests.waiting import until
from tests.web.conftest import Chosen
from tests.web.house import serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/providers/ses-1/health"


def shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


async def test_what_workers_found_is_told(chosen: Chosen, database_url: str, valkey_url: str) -> None:
    provider = Mailbook(database_url).provider()
    async with serving(chosen(cache_url=valkey_url)) as door:
        await until(lambda: door.house.cache.up)
        key, now = await door.key("shop", "providers:read"), float(int(time.time()))
        fresh = await door.get(PATH, key)
        closed = {"condition": "closed", "since": None, "until": None, "cause": None}
        assert fresh.json == {
            "name": "ses-1",
            "enabled": True,
            "known": True,
            "breaker": closed,
            "rate": None,
            "quota": None,
        }
        words = {
            "breaker": breaker_note(Breaker(Condition.OPEN, now - 60, now + 240, 300, Cause.DOWN, 1)),
            "pace": pace_note(Pace(10.0, 10.0, now - 60, now + 600)),
            "quota": reading_note(Reading(SendQuota(14.0, 400, True), now - 5, 100)),
        }
        record = provider_record(provider)
        await door.house.cache.ask([note(record, field, value, 60) for field, value in words.items()])
        told = (await door.get(PATH, key)).json
        assert told == {
            "name": "ses-1",
            "enabled": True,
            "known": True,
            "breaker": {"condition": "open", "since": shown(now - 60), "until": shown(now + 240), "cause": "down"},
            "rate": {"per_second": 10.0, "limit": 10.0, "held_until": shown(now + 600)},
            "quota": {"read_at": shown(now - 5), "per_second": 14.0, "left": 400, "enabled": True},
        }
        # It may be tried again; and what was wrong with an earlier configuration is mended.
        for breaker, condition in (
            (Breaker(Condition.OPEN, now - 60, now - 1, 59, Cause.DOWN, 1), "half_open"),
            (Breaker(Condition.OPEN, now - 60, now + 900, 900, Cause.MISCONFIGURED, 0), "closed"),
        ):
            await door.house.cache.ask([note(record, "breaker", breaker_note(breaker), 60)])
            assert (await door.get(PATH, key)).json["breaker"]["condition"] == condition


async def test_without_the_cache_nobody_knows(chosen: Chosen, database_url: str) -> None:
    book = Mailbook(database_url)
    book.provider(BAKERY)
    async with serving(chosen()) as door:
        told = await door.get(f"{PATH}?account=bakery", await door.key())
        assert (told.status, told.json["known"], told.json["breaker"]) == (200, False, None)
        key = await door.key("shop")
        assert [(await door.get(path, key)).status for path in (PATH, f"{PATH}?account=bakery")] == [404, 404]
        assert (await door.get(PATH, await door.key("bakery", "messages:read"))).status == 403
