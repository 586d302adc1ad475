"""One HTTP request to a provider: sent once, answered within bounds, and known to have gone out or not."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from yarl import URL

from backing import ids
from mail.delivery import Outcome
from mail.endpoints import Network
from worker.guard import PROVIDERS, Guard, forbidden
from worker.providers.base import Answer, Failed

_HIDDEN: Final = "***"
MAX_ANSWER: Final = 65_536
# Nothing that a provider says makes mail wait for longer than this.
MAX_PAUSE_SECONDS: Final = 86_400.0
_CONNECT_SECONDS: Final = 10.0
_CONNECTIONS_PER_HOST: Final = 256
# A body goes out piece by piece, so that a connection that breaks in the middle is known to have broken there.
_PIECE: Final = 65_536
_UNWANTED: Final = ("Accept", "Accept-Encoding")
_FAULTS: Final = (aiohttp.ClientError, OSError, TimeoutError, ValueError)
# A number above the first is a time in seconds since 1970, above the second in milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12


@dataclass(frozen=True, slots=True)
class Request:
    """A POST, or what a check asks with a GET.

    Attributes:
        secrets: what of its headers no answer may show.
    """

    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    secrets: Sequence[str] = field(repr=False, default=())

    def hide(self, text: str) -> str:
        """Take its secrets out of what was said about it."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return text


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the answer's beginning.
        whole: whether that is all of it.
    """

    status: int
    headers: Mapping[str, str]
    text: str
    whole: bool = True

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON object that it is; empty where it is none."""
        try:
            document = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    @property
    def retry_after(self) -> float | None:
        """Seconds that the provider wants to be left alone, or None where it says nothing that can be read.

        Source: RFC 9110, 10.2.3 for Retry-After; X-RateLimit-Reset of SendGrid and Mailgun is a time.
        """
        for name in ("Retry-After", "X-RateLimit-Reset"):
            seconds = _pause(self.headers.get(name, ""))
            if seconds is not None:
                return min(max(seconds, 0.0), MAX_PAUSE_SECONDS)
        return None


@asynccontextmanager
async def http_session(
    allowed: Sequence[Network] | None, context: ssl.SSLContext | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open what carries the requests to all providers: kept connections, no cookies, nothing unpacked.

    Args:
        allowed: networks that are allowed beside the public internet, where rows say where requests go; None where
            that is said by nobody but us.
        context: what TLS verifies the providers with, if not the system's authorities.
    """
    guard = None if allowed is None else Guard(aiohttp.ThreadedResolver(), allowed, PROVIDERS)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            resolver=guard,
            socket_factory=guard.socket if guard else None,
            ssl=context or ssl.create_default_context(),
            limit=0,
            limit_per_host=_CONNECTIONS_PER_HOST,
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "smtp-proxy"},
        skip_auto_headers=_UNWANTED,
        auto_decompress=False,
    ) as session:
        yield session


async def post(http: aiohttp.ClientSession, request: Request, deadline: float) -> Reply:
    """Send a request, once; aiohttp repeats no POST.

    Args:
        http: what carries it.
        request: what to send.
        deadline: event loop time at which the answer must have come.

    Raises:
        Failed: there is no answer; unknown what became of the request, once its end was on the way.
    """
    parcel = _Parcel(request.body)
    try:
        async with (
            asyncio.timeout_at(deadline),
            http.post(request.url, data=parcel, headers=request.headers, allow_redirects=False) as response,
        ):
            text, whole = await _read(response)
            return Reply(response.status, response.headers, request.hide(text), whole)
    except _FAULTS as fault:
        if found := forbidden(fault):
            raise Failed(Answer(Outcome.MISCONFIGURED, None, None, f"connecting: {found}")) from fault
        raise Failed(_lost(request.hide(str(fault)) or _silent(fault), sent=parcel.sent)) from fault


async def get(http: aiohttp.ClientSession, request: Request) -> Reply:
    """Ask for a resource that a request names, as part of a check; its body stays here.

    Raises:
        OSError: there is no answer; says why, without secrets.
    """
    try:
        async with http.get(request.url, headers=request.headers, allow_redirects=False) as response:
            text, whole = await _read(response)
            return Reply(response.status, response.headers, request.hide(text), whole)
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise ConnectionError(request.hide(str(fault)) or _silent(fault)) from fault


class _Parcel(Payload):
    """A body that knows whether its end is on the way."""

    _value: bytes

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)
        self.sent = False

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        last = max(0, (len(view) - 1) // _PIECE * _PIECE)
        for start in range(0, last, _PIECE):
            await writer.write(view[start : start + _PIECE])
        self.sent = True
        await writer.write(view[last:])

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        del content_length  # it is ours
        await self.write(writer)


async def _read(response: aiohttp.ClientResponse) -> tuple[str, bool]:
    answer = bytearray()
    async for piece in response.content.iter_any():
        answer += piece
        if len(answer) > MAX_ANSWER:
            response.close()
            break
    return bytes(answer[:MAX_ANSWER]).decode("utf-8", "replace"), len(answer) <= MAX_ANSWER


def _silent(fault: BaseException) -> str:
    return "no answer in time" if isinstance(fault, TimeoutError) else type(fault).__name__


def _lost(words: str, *, sent: bool) -> Answer:
    text = f"{'waiting for the answer' if sent else 'sending the request'}: {words}"
    return Answer(Outcome.UNKNOWN if sent else Outcome.PROVIDER_DOWN, None, None, text)


def _pause(text: str) -> float | None:
    try:
        seconds = float(text) if text[:1].isdecimal() else _until(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError):
        return None
    if seconds > _EPOCH_MILLISECONDS:
        return _until(seconds / 1000)
    return _until(seconds) if seconds > _EPOCH_SECONDS else seconds


def _until(moment: float) -> float:
    return moment - ids.now().timestamp()
