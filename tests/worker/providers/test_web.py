"""One request: bounded, sent once, and known to have gone out or not."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from yarl import URL

from mail.delivery import Outcome
from tests.worker.providers.site import DROP, HUGE, HUGE_SIZE, Says, Site
from tests.worker.sending import HERE
from worker.providers.base import Failed
from worker.providers.web import MAX_ANSWER, Reply, Request, http_session, post

pytestmark = pytest.mark.anyio


async def asked(site: Site, times: int = 1) -> list[Reply]:
    async with http_session(HERE) as http:
        request = Request(URL(site.url) / "x", {"X-Key": "hush"}, b"body", ("hush",))
        return [await post(http, request, asyncio.get_running_loop().time() + 30) for _ in range(times)]


async def test_no_more_is_read_than_is_kept() -> None:
    async with Site([HUGE]).serving() as site:
        (reply,) = await asked(site)
        assert (len(reply.text), reply.whole, reply.document) == (MAX_ANSWER, False, {})
    assert site.written < HUGE_SIZE


async def test_a_packed_answer_is_not_unpacked() -> None:
    async with Site([Says(200, "not really packed", {"Content-Encoding": "gzip"})]).serving() as site:
        (reply,) = await asked(site)
        assert reply.text == "not really packed"
        assert "accept-encoding" not in site.requests[0].headers
        assert site.requests[0].headers["user-agent"] == "smtp-proxy"


async def test_a_kept_connection_that_ends_is_not_asked_twice() -> None:
    async with Site([Says(200, "{}"), DROP, Says(200, "{}")]).serving() as site:
        with pytest.raises(Failed) as raised:
            await asked(site, 2)
        assert raised.value.answer.outcome is Outcome.UNKNOWN
        assert len(site.requests) == 2


async def test_secrets_are_hidden_in_answers_and_not_shown_by_a_request() -> None:
    async with Site([Says(401, {"message": "key hush is wrong"})]).serving() as site:
        (reply,) = await asked(site)
    assert reply.document == {"message": "key *** is wrong"}
    assert "hush" not in repr(Request(URL("https://x.example"), {"X-Key": "hush"}, b"hush", ("hush",)))


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "12", "X-RateLimit-Reset": "99"}, 12.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "9"}, 9.0),
        ({"Retry-After": "9" * 400}, 86_400.0),
        ({"Retry-After": "1e999"}, 86_400.0),
        ({"Retry-After": "1000000001"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "Thu, 99 Jan 9999 00:00:00 GMT"}, None),
    ],
)
def test_how_long_a_provider_wants_to_be_left_alone(headers: dict[str, str], pause: float | None) -> None:
    assert Reply(429, headers, "").retry_after == pause


def test_a_time_to_come_back_at_is_counted_from_now() -> None:
    at = datetime.now(UTC) + timedelta(seconds=600)
    stamp = at.timestamp()
    for text in (format_datetime(at, usegmt=True), str(int(stamp)), str(int(stamp * 1000))):
        pause = Reply(429, {"Retry-After": text}, "").retry_after
        assert pause is not None
        assert 300 < pause <= 600
