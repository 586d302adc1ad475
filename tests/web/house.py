"""The API and the console of a test: real processes' parts in this process, on a socket, with real stores."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import psycopg
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from yarl import URL

from backing.admin.keys import NewKey
from backing.stop import Stop
from mail.throttle import FAILURE_WINDOW
from tests.waiting import until
from web.api.application import api
from web.house import House, furnish
from web.rates import Rates
from web.serving import serve
from web.settings import WebSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes
    json: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Door:
    """A door that serves, and somebody who calls."""

    url: str
    house: House
    stop: Stop
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, key: str | None = None, **options: Any) -> Answer:
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **options.pop("headers", {})}
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            body = await answer.read()
            is_json = answer.content_type.endswith("json")
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, found, body, await answer.json(content_type=None) if is_json else None)

    async def get(self, path: str, key: str | None = None, **options: Any) -> Answer:
        return await self.call("GET", path, key, **options)

    async def post(self, path: str, key: str | None = None, **options: Any) -> Answer:
        return await self.call("POST", path, key, **options)

    async def key(self, account: str | None = None, *scopes: str, **options: Any) -> str:
        """Make a key, as the operator's command does."""
        async with self.house.office() as office:
            return (await office.keys.create(account, NewKey("test", scopes, **options))).token


def noted(url: str) -> list[tuple[str, str]]:
    """What the audit log says, the oldest first."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT action, subject FROM audit_log ORDER BY id").fetchall()


def patient(house: House) -> ASGIApp:
    """The API, to which no key is wrong too often: each call falls into a window of its own."""
    moments = itertools.count(step=FAILURE_WINDOW)
    return api(replace(house, rates=Rates(house.cache, 1000, moments.__next__)))


@asynccontextmanager
async def serving(settings: WebSettings, build: Callable[[House], ASGIApp] = api) -> AsyncIterator[Door]:
    """Serve until the block ends."""
    async with AsyncExitStack() as stack:
        house = await furnish(stack, settings, CollectorRegistry())
        house.condition.migrated = True
        stop = Stop()
        async with asyncio.TaskGroup() as tasks:
            served = tasks.create_task(serve(build(house), settings, house.condition, stop))
            await until(lambda: house.condition.listening or served.done())
            jar = aiohttp.CookieJar(unsafe=True)
            async with aiohttp.ClientSession(cookie_jar=jar) as http:
                yield Door(f"http://127.0.0.1:{settings.web_port}", house, stop, http)
                stop.ask()
                stop.ask()


def settings(url: str, post: dict[str, str], port: int, **changes: Any) -> WebSettings:
    values: dict[str, Any] = {
        "aws_region": "eu-central-1",
        "database_url": url,
        "queue_url": post["queue_url"],
        "body_bucket": post["bucket"],
        "credential_key_secret": post["secret"],
        "provider_key": post["kms"],
        "web_host": "127.0.0.1",
        "web_port": port,
        "health_port": 0,
        "web_grace_seconds": 0,
        "web_key_cache_seconds": 0,
        **changes,
    }
    return WebSettings(**values)


def environment(chosen: WebSettings, endpoint: str) -> dict[str, str]:
    """The environment of a process with such settings."""
    kept = ("AWS_", "PG", "PATH", "HOME", "COV")
    passed = {name: value for name, value in os.environ.items() if name.startswith(kept)}  # noqa: TID251
    named = {name.upper(): str(value) for name, value in chosen.model_dump(exclude_defaults=True).items()}
    return passed | named | {"AWS_ENDPOINT_URL": endpoint, "HEALTH_HOST": "127.0.0.1"}


def origin(url: str) -> str:
    return str(URL(url).origin())
