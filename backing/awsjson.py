"""AWS services of the JSON protocol, called directly: the calls that are made for every message."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from backing.signing import Keys, Post, Signer
from backing.skew import ServiceClock
from mail.errors import Unavailable

# Seconds before a second and a third try, up to half of it left out by chance, lest many callers come back together.
_PAUSES: Final = (0.1, 0.4)
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_UNWANTED: Final = ("Accept", "Accept-Encoding", "User-Agent")
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
# A ValueError: the answer is not JSON, so it is not of the service but of something before it.
_FAULTS: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class _Retriable(Unavailable):
    """The same request may do better."""


class JsonService:
    """One service, such as SQS, at one endpoint.

    Does what the SDK does for these calls at a third of its cost: three tries with short pauses for broken
    connections, server errors and throttling; so only for calls that may be repeated without harm. What SQS says of the
    MD5 of a body is not compared: TLS and the signature, which covers the body, protect it.

    Args:
        http: what carries the requests; see `http_session`.
        endpoint: URL of the service.
        target: the service's name in the X-Amz-Target header, such as `AmazonSQS`.
        signer: signs for it.
        keys: gives the credentials that are good now; raises `Unavailable`.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        endpoint: str,
        target: str,
        signer: Signer,
        keys: Callable[[], Awaitable[Keys]],
    ) -> None:
        self._http = http
        self._url = URL(endpoint).with_path("/")
        self._host = self._url.host_port_subcomponent or ""
        self._target = target
        self._signer = signer
        self._keys = keys
        self._clock = ServiceClock()

    async def call(self, operation: str, body: bytes) -> dict[str, Any]:
        """Make a call with a document of arguments; give that of the answer.

        Raises:
            Unavailable: the service did not answer as it should; nothing is known to have happened.
        """
        for pause in _PAUSES:
            try:
                return await self._try(operation, body)
            except _Retriable:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads load, keeps no secret
        return await self._try(operation, body)

    async def _try(self, operation: str, body: bytes) -> dict[str, Any]:
        post = Post(self._host, {"content-type": _CONTENT_TYPE, "x-amz-target": f"{self._target}.{operation}"}, body)
        headers = self._signer.headers(post, await self._keys(), self._clock.now())
        try:
            async with self._http.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                answer = await response.read()
            document = _object(answer)
        except _FAULTS as fault:
            raise _Retriable(f"{self._target} {operation}: {type(fault).__name__}: {fault}") from fault
        if response.status == HTTPStatus.OK:
            return document
        raise self._rejection(operation, response, document)

    def _rejection(self, operation: str, response: aiohttp.ClientResponse, document: Mapping[str, Any]) -> Unavailable:
        code = str(document.get("__type", f"HTTP {response.status}")).rpartition("#")[2]
        message = document.get("message") or document.get("Message") or response.reason
        clock_was_off = self._clock.set_by(code, response.headers.get("Date", ""))
        again = clock_was_off or response.status in _AGAIN or "hrottl" in code
        return (_Retriable if again else Unavailable)(f"{self._target} {operation}: {code}: {message}")


@asynccontextmanager
async def http_session(limits: aiohttp.ClientTimeout, authorities: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open what carries requests: kept connections, no cookies, no headers of its own.

    Args:
        limits: how long to wait for a connection and for an answer.
        authorities: file of the certificate authorities to trust.
    """
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authorities))
    async with aiohttp.ClientSession(
        connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=_UNWANTED
    ) as session:
        yield session


def _object(text: bytes) -> dict[str, Any]:
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004 - as what is no JSON at all
    return document
