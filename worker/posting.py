"""HTTPS posts to hosts that accounts name: to public addresses only, checked where the connection is made."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from backing import ids
from mail.endpoints import Network, read_retry_after
from worker.guard import WEBHOOKS, Guard
from worker.providers.base import clean

_TOTAL_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_ANSWER_OCTETS: Final = 1024
_CONNECTIONS: Final = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered.

    Attributes:
        status: HTTP status, or None where there was no answer.
        text: the first words of its body, or why there was no answer.
        retry_after: seconds that it wants to be left alone, or None.
    """

    status: int | None
    text: str
    retry_after: float | None = None


class Poster:
    """Posts to endpoints; whatever happens there is an answer, never an exception.

    Args:
        http: a session of `session`.
    """

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post once: no redirects, no second try, at most ten seconds, and little of the answer."""
        try:
            call = self._http.post(
                URL(url, encoded=True), data=body, headers=headers, allow_redirects=False, raise_for_status=False
            )
            async with call as answer:
                words = await answer.content.read(_ANSWER_OCTETS)
                wanted = answer.headers.get("Retry-After")
                retry_after = read_retry_after(wanted, ids.now()) if wanted else None
                return Reply(answer.status, clean(words.decode("utf-8", "replace")), retry_after)
        except TimeoutError:
            return Reply(None, f"no answer within {_TOTAL_SECONDS:.0f} seconds")
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            return Reply(None, clean(_reason(fault)))


@asynccontextmanager
async def poster(
    allowed: Sequence[Network], context: ssl.SSLContext | None = None, resolver: AbstractResolver | None = None
) -> AsyncIterator[Poster]:
    """Keep connections to endpoints, until the block ends.

    Args:
        allowed: networks that are allowed beside the public internet.
        context: which authorities are trusted; None for those of the system.
        resolver: asks the DNS; None for the system's own.
    """
    guard = Guard(resolver or aiohttp.ThreadedResolver(), allowed, WEBHOOKS)
    connector = aiohttp.TCPConnector(
        resolver=guard,
        use_dns_cache=False,
        ssl=context or ssl.create_default_context(),
        socket_factory=guard.socket,
        limit=_CONNECTIONS,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=_TOTAL_SECONDS, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"User-Agent": "smtp-proxy", "Content-Type": "application/json", "Accept-Encoding": "identity"},
    ) as http:
        try:
            yield Poster(http)
        finally:
            await guard.close()


def _reason(fault: BaseException) -> str:
    """Say what went wrong, without aiohttp's own frame of words where the cause is known."""
    cause = fault.os_error if isinstance(fault, aiohttp.ClientConnectorError) else fault
    return str(cause) or type(cause).__name__
