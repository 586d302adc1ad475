"""Every kind of provider as the conformance suite plays it: what its peer does, and how it tells what it got."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from backing.aws import Aws
from backing.ids import new_id
from mail.delivery import Outcome
from tests.conftest import REGION
from tests.worker import peer
from tests.worker.peer import Peer
from tests.worker.providers import site
from tests.worker.providers.site import Received, Says, Site
from tests.worker.sending import HERE
from worker.providers.base import Provider, Setup
from worker.providers.means import Means
from worker.providers.registry import kinds
from worker.providers.web import http_session

SECRET: Final = "hush-hush-0123456789"
SES_ID: Final = "0102018f-0000"
POSTMARK_OK: Final = {"ErrorCode": 0, "Message": "OK", "MessageID": "b7bc2f4a"}

# What is played, by the name of the play.
Plays = Mapping[str, tuple[Any, Outcome]]


def ses_error(status: int, name: str, message: str = "no", **headers: str) -> Says:
    return Says(status, {"message": message}, {"x-amzn-ErrorType": f"{name}:http://internal/", **headers})


def postmark_error(status: int, code: int, message: str = "no", **headers: str) -> Says:
    return Says(status, {"ErrorCode": code, "Message": message}, headers)


_PAUSE: Final = {"Retry-After": "7"}
_DEEP: Final = "[" * 60_000
_ANY_API: Final[Plays] = {
    "drops after accepting": (site.DROP, Outcome.UNKNOWN),
    "hangs": (site.HANG, Outcome.UNKNOWN),
    "answers too much": (site.HUGE, Outcome.UNKNOWN),
    "answers a header without end": (Says(200, "", {"X-Long": "x" * 100_000}), Outcome.UNKNOWN),
    "fails behind a gateway": (Says(502, "<html>bad gateway</html>"), Outcome.UNKNOWN),
    "is slow behind a gateway": (Says(504, "<html>gateway timeout</html>"), Outcome.UNKNOWN),
    "is unavailable": (Says(503, "<html>maintenance</html>"), Outcome.PROVIDER_DOWN),
    "sends elsewhere": (Says(307, "", {"Location": "https://127.0.0.1:1/"}), Outcome.MISCONFIGURED),
    "shows the secret": (site.ECHO, Outcome.MISCONFIGURED),
}
_PLAYS: Final[Mapping[str, Plays]] = {
    "ses": {
        **_ANY_API,
        "accepts": (Says(200, {"MessageId": SES_ID}), Outcome.ACCEPTED),
        "throttles": (ses_error(429, "TooManyRequestsException"), Outcome.THROTTLED),
        "throttles for a while": (ses_error(429, "TooManyRequestsException", **_PAUSE), Outcome.THROTTLED),
        "refuses the key": (ses_error(403, "UnrecognizedClientException"), Outcome.MISCONFIGURED),
        "forbids": (ses_error(403, "AccessDeniedException"), Outcome.MISCONFIGURED),
        "fails": (ses_error(500, "InternalFailure"), Outcome.UNKNOWN),
        "answers nonsense": (Says(200, "{{{"), Outcome.UNKNOWN),
        "answers a deep document": (Says(200, _DEEP), Outcome.UNKNOWN),
        "refuses the content": (ses_error(400, "MessageRejected", "virus found"), Outcome.MESSAGE_PERMANENT),
    },
    "mailgun": {
        **_ANY_API,
        "accepts": (Says(200, {"id": "<1@mg.example>", "message": "Queued. Thank you."}), Outcome.ACCEPTED),
        "throttles": (Says(429, {"message": "slow down"}), Outcome.THROTTLED),
        "throttles for a while": (Says(429, {"message": "slow down"}, _PAUSE), Outcome.THROTTLED),
        "refuses the key": (Says(401, "Forbidden"), Outcome.MISCONFIGURED),
        "forbids": (Says(403, {"message": "Account disabled"}), Outcome.MISCONFIGURED),
        "fails": (Says(500, {"message": "Internal Server Error"}), Outcome.UNKNOWN),
        "answers nonsense": (Says(200, "Mailgun Magnificent API"), Outcome.MISCONFIGURED),
        "answers a deep document": (Says(200, _DEEP), Outcome.MISCONFIGURED),
        "refuses the content": (Says(400, {"message": "message is malformed"}), Outcome.MESSAGE_PERMANENT),
    },
    "sendgrid-api": {
        **_ANY_API,
        "accepts": (Says(202, "", {"X-Message-Id": "sg-1"}), Outcome.ACCEPTED),
        "throttles": (Says(429, {"errors": [{"message": "too many requests"}]}), Outcome.THROTTLED),
        "throttles for a while": (Says(429, {"errors": []}, _PAUSE), Outcome.THROTTLED),
        "refuses the key": (Says(401, {"errors": [{"message": "bad key"}]}), Outcome.MISCONFIGURED),
        "forbids": (Says(403, {"errors": [{"message": "from address"}]}), Outcome.MISCONFIGURED),
        "fails": (Says(500, {"errors": [{"message": "oops"}]}), Outcome.UNKNOWN),
        "answers nonsense": (Says(200, "{{{"), Outcome.UNKNOWN),
        "answers a deep document": (Says(400, _DEEP), Outcome.MESSAGE_PERMANENT),
        "refuses the content": (Says(413, {"errors": [{"message": "large"}]}), Outcome.MESSAGE_PERMANENT),
    },
    "postmark-api": {
        **_ANY_API,
        "accepts": (Says(200, POSTMARK_OK), Outcome.ACCEPTED),
        "throttles": (postmark_error(429, 429), Outcome.THROTTLED),
        "throttles for a while": (postmark_error(429, 429, **_PAUSE), Outcome.THROTTLED),
        "refuses the key": (postmark_error(401, 10), Outcome.MISCONFIGURED),
        "forbids": (postmark_error(422, 413), Outcome.MISCONFIGURED),
        "fails": (Says(500, "<html>sorry</html>"), Outcome.TEMPORARY),
        "answers nonsense": (Says(200, "{{{"), Outcome.UNKNOWN),
        "answers a deep document": (Says(200, _DEEP), Outcome.UNKNOWN),
        "refuses the content": (postmark_error(422, 411), Outcome.MESSAGE_PERMANENT),
    },
}
_SMTP_PLAYS: Final[Plays] = {
    "accepts": ({}, Outcome.ACCEPTED),
    "drops after accepting": ({".": peer.DROP}, Outcome.UNKNOWN),
    "drops before it has read": ({"DATA": peer.DROP}, Outcome.PROVIDER_DOWN),
    "hangs": ({".": peer.HANG}, Outcome.UNKNOWN),
    "throttles": ({".": "454 4.7.0 Throttling failure"}, Outcome.THROTTLED),
    "refuses the key": ({"AUTH": "535 5.7.8 no"}, Outcome.MISCONFIGURED),
    "forbids": ({"MAIL": "550 5.7.1 not you"}, Outcome.MISCONFIGURED),
    "fails": ({"DATA": "451 4.3.0 not now"}, Outcome.TEMPORARY),
    "is unavailable": ({"banner": "421 4.3.2 closing"}, Outcome.PROVIDER_DOWN),
    "answers nonsense": ({".": b"{{{\r\n"}, Outcome.UNKNOWN),
    "answers too much": ({".": b"250-" + b"x" * 70_000}, Outcome.UNKNOWN),
}


@dataclass(frozen=True)
class Stage:
    """A provider with its peer.

    Attributes:
        arrived: gives what came so far, as raw messages where the provider takes them, else as it is told.
    """

    provider: Provider
    arrived: Callable[[], list[bytes]]


@dataclass(frozen=True)
class Kind:
    """A provider in one of its modes.

    Attributes:
        raw: whether it takes messages as they are.
        plays: what its peer may do, and what that means.
    """

    name: str
    raw: bool
    plays: Plays

    @property
    def over_http(self) -> bool:
        return self.plays is not _SMTP_PLAYS

    @asynccontextmanager
    async def playing(self, move: Any, context: ssl.SSLContext | None = None) -> AsyncIterator[Stage]:
        if self.over_http:
            async with Site([move], context).serving() as served, api(self.name, served.url) as provider:
                yield Stage(provider, lambda: [raw_in(self.name, each) for each in served.requests])
        else:
            extensions = ("AUTH PLAIN", "8BITMIME", *(("STARTTLS",) if context else ()))
            async with Peer(move, extensions, context).serving() as met, self.relay(met) as provider:
                yield Stage(provider, lambda: [unstuffed(each) for each in met.messages])

    @asynccontextmanager
    async def absent(self, port: int) -> AsyncIterator[Provider]:
        """The provider, with nobody behind it."""
        opened = api(self.name, f"http://127.0.0.1:{port}") if self.over_http else self.relay(Peer(port=port))
        async with opened as provider:
            yield provider

    @asynccontextmanager
    async def relay(self, met: Peer) -> AsyncIterator[Provider]:
        config = met.config | {"timeout": 30.0} | ({"tls": "starttls"} if met.context else {})
        kind, _, mode = self.name.partition("-")
        rest = {"smtp": config} if mode else config | {"username": "user"}
        async with built(kind, rest, SECRET) as provider:
            yield provider


KINDS: Final = [
    Kind("smtp", True, _SMTP_PLAYS),
    Kind("sendgrid-smtp", True, _SMTP_PLAYS),
    Kind("postmark-smtp", True, _SMTP_PLAYS),
    Kind("ses", True, _PLAYS["ses"]),
    Kind("mailgun", True, _PLAYS["mailgun"]),
    Kind("sendgrid-api", False, _PLAYS["sendgrid-api"]),
    Kind("postmark-api", False, _PLAYS["postmark-api"]),
]
APIS: Final = [kind for kind in KINDS if kind.over_http]


@asynccontextmanager
async def built(kind: str, config: Mapping[str, Any], secret: str | None) -> AsyncIterator[Provider]:
    """A provider as the worker builds it from a row."""
    async with http_session(HERE) as http:
        provider = await kinds(Means(Aws(REGION), http, http, HERE))[kind](
            Setup(new_id(), "main", dict(config), secret)
        )
        try:
            yield provider
        finally:
            await provider.close()


@asynccontextmanager
async def api(name: str, url: str, **config: Any) -> AsyncIterator[Provider]:
    kind, _, mode = name.partition("-")
    usual: dict[str, Any] = {"mailgun": {"domain": "mg.example"}}.get(kind, {})
    modes = {"mode": mode} if mode else {}
    async with built(kind, usual | modes | config | {"endpoint": url}, None if kind == "ses" else SECRET) as provider:
        yield provider


def raw_in(name: str, request: Received) -> bytes:
    """The raw message in a request, or the whole body where there is none."""
    if name == "ses":
        return base64.b64decode(request.document["Content"]["Raw"]["Data"])
    if name == "mailgun":
        return form(request)[-1][1]
    return request.body


def form(request: Received) -> list[tuple[str, bytes]]:
    """The fields of a form in order, read by its boundary alone."""
    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parts = request.body.removesuffix(b"\r\n--" + boundary + b"--\r\n").split(b"--" + boundary + b"\r\n")[1:]
    fields = [part.partition(b"\r\n\r\n") for part in parts]
    named = [(head.decode().partition('name="')[2].partition('"')[0], value) for head, _, value in fields]
    return [(name, value.removesuffix(b"\r\n")) for name, value in named[:-1]] + named[-1:]


def unstuffed(message: bytes) -> bytes:
    return (b"\r\n" + message).replace(b"\r\n..", b"\r\n.")[2:]


def shown(document: bytes) -> str:
    """What an API is told to show in headers, as text: all of it but the hidden recipients."""
    fields = json.loads(document)
    fields.pop("Bcc", None)
    for personalization in fields.get("personalizations", []):
        personalization.pop("bcc", None)
    return json.dumps(fields)
