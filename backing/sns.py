"""Certificates that SNS signs with: fetched from AWS over HTTPS, and kept."""

import asyncio
from http import HTTPStatus
from typing import Final

import aiohttp

from mail.errors import Unavailable
from mail.events.verify import certificate_url

MAX_CERTIFICATE: Final = 16_384
SECONDS: Final = 5.0
# SNS changes its certificate about once a year and has one a region.
MAX_KEPT: Final = 16


class Certificates:
    """Gives the certificate that an SNS message names.

    Args:
        http: what fetches it; HTTPS to AWS is what makes a certificate trustworthy, so it checks the peer.
    """

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._kept: dict[str, bytes] = {}
        self._fetching = asyncio.Lock()

    async def of(self, body: bytes, topics: frozenset[str]) -> bytes:
        """Give the certificate of a message of one of our topics, in PEM.

        Raises:
            BadCall: it is of another topic, or names a certificate that is none of AWS's.
            Unavailable: AWS did not give it.
        """
        url = certificate_url(body, topics)
        if url not in self._kept:
            async with self._fetching:
                if url not in self._kept:
                    self._kept[url] = await self._fetch(url)
                    while len(self._kept) > MAX_KEPT:
                        self._kept.pop(next(iter(self._kept)))
        return self._kept[url]

    async def _fetch(self, url: str) -> bytes:
        try:
            async with asyncio.timeout(SECONDS), self._http.get(url, allow_redirects=False) as answer:
                if answer.status != HTTPStatus.OK:
                    raise Unavailable(f"SNS certificate: HTTP {answer.status}")
                return await _bounded(answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise Unavailable(f"SNS certificate: {type(fault).__name__}") from fault


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    octets = b""
    async for chunk in content.iter_any():
        octets += chunk
        if len(octets) > MAX_CERTIFICATE:
            raise Unavailable(f"SNS certificate: longer than {MAX_CERTIFICATE} octets")
    return octets
