"""The outermost layer of both doors: correlation, limits, headers, the request log. A plain ASGI application."""

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backing.ids import new_id
from backing.metrics import WebMetrics
from mail.errors import Unavailable
from web.problems import MEDIA_TYPE, Problem, problem_of, unavailable

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# Paths that say nothing new in a log: load balancers ask for them all the time.
_PROBES: Final = frozenset({"/livez", "/readyz", "/healthz"})
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_FOUND: Final = "none"
_MOST_REASON: Final = 300
SECURITY: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
NOTHING_LOADS: Final = b"default-src 'none'; frame-ancestors 'none'"


@dataclass(slots=True)
class Condition:
    """How the process stands; readiness is made of it, and never of the database or the cache."""

    listening: bool = False
    migrated: bool = False
    draining: bool = False

    @property
    def ready(self) -> bool:
        """Whether new work is welcome."""
        return self.listening and self.migrated and not self.draining

    @property
    def word(self) -> str:
        """The same for people."""
        return "draining" if self.draining else "ready" if self.ready else "starting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What requests may take.

    Attributes:
        body: gives the most octets of a request's body.
        in_flight: gives the most octets of all bodies in memory.
        seconds: gives the longest time until an answer begins.
        sample: gives the share of requests that only read which get a line in the log.
        policy: Content-Security-Policy of what has none of its own.
    """

    body: Callable[[Scope], int]
    in_flight: Callable[[], int]
    seconds: Callable[[], float]
    sample: Callable[[], float]
    policy: bytes = NOTHING_LOADS


@dataclass(slots=True)
class Visit:
    """One request on its way.

    Attributes:
        id: correlation id; the client's own, if it sent a fit one.
        facts: what else the log is to say of it.
    """

    id: str
    began: float
    held: int = 0
    status: int = 0
    octets: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


def visit_of(scope: Scope) -> Visit:
    """Give the visit that a request is part of."""
    visit: Visit = scope["state"]["visit"]
    return visit


class Edge:
    """Wraps an application; whatever happens inside, the client gets an answer and the log a line.

    Args:
        app: what is inside.
        limits: what requests may take.
        condition: how the process stands.
        metrics: what is counted.
    """

    def __init__(self, app: ASGIApp, limits: Limits, condition: Condition, metrics: WebMetrics) -> None:
        self._app = app
        self._limits = limits
        self._condition = condition
        self._metrics = metrics
        self._held = 0
        self._log = structlog.get_logger()
        metrics.bytes_in_flight.set_function(lambda: self._held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; there is nothing but HTTP."""
        if scope["type"] != "http":
            return
        visit = Visit(_request_id(scope), time.monotonic())
        scope["state"] = {"visit": visit}
        with self._metrics.in_flight.track_inprogress():
            try:
                await self._answer(scope, visit, receive, send)
            finally:
                self._held -= visit.held
                self._tell(scope, visit)

    async def _answer(self, scope: Scope, visit: Visit, receive: Receive, send: Send) -> None:
        try:
            await self._inside(scope, visit, receive, send)
        except Exception as fault:  # noqa: BLE001 - the outermost edge: answered, and logged where it is our fault
            problem = told(visit, fault)
            if not visit.status:
                status, headers, body = problem_response(problem, visit)
                out = self._sending(visit, send, bool)
                await out({"type": "http.response.start", "status": status, "headers": headers})
                await out({"type": "http.response.body", "body": body})

    async def _inside(self, scope: Scope, visit: Visit, receive: Receive, send: Send) -> None:
        if _length(scope) > self._limits.body(scope):
            raise _too_large(self._limits.body(scope))
        async with asyncio.timeout(self._limits.seconds()) as bound:
            out = self._sending(visit, send, lambda: bound.reschedule(None))
            await self._app(scope, self._receiving(scope, visit, receive), out)

    def _receiving(self, scope: Scope, visit: Visit, receive: Receive) -> Receive:
        most = self._limits.body(scope)

        async def limited() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                octets = len(message.get("body", b""))
                visit.held += octets
                self._held += octets
                if visit.held > most:
                    raise _too_large(most)
                if self._held > self._limits.in_flight():
                    raise unavailable("too much is being uploaded at this moment; try again")
            return message

        return limited

    def _sending(self, visit: Visit, send: Send, begun: Callable[[], object]) -> Send:
        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # What is slow from now on is the client.
                begun()
                visit.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(visit, message)]
            elif message["type"] == "http.response.body":
                visit.octets += len(message.get("body", b""))
            await send(message)

        return headed

    def _headers(self, visit: Visit, message: Message) -> list[tuple[bytes, bytes]]:
        own = {name.lower() for name, _ in message.get("headers", ())}
        headers = [(b"x-request-id", visit.id.encode()), *(each for each in SECURITY if each[0] not in own)]
        if b"content-security-policy" not in own:
            headers.append((b"content-security-policy", self._limits.policy))
        if self._condition.draining:
            headers.append((b"connection", b"close"))
        return headers

    def _tell(self, scope: Scope, visit: Visit) -> None:
        """Write a line, and count: by the route, since paths are without number."""
        route = getattr(scope.get("route"), "path", _NOT_FOUND)
        seconds = time.monotonic() - visit.began
        status = visit.status or 499  # the client went away before it was answered
        self._metrics.requests.labels(f"{scope['method']} {route}", f"{status // 100}xx").observe(seconds)
        if status < HTTPStatus.BAD_REQUEST and (scope["path"] in _PROBES or self._unsaid(scope)):
            return
        client = scope.get("client")
        self._log.info(
            "request",
            request=visit.id,
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            received=visit.held,
            sent=visit.octets,
            peer=client[0] if client else None,
            **visit.facts,
        )

    def _unsaid(self, scope: Scope) -> bool:
        """Whether a request that went well gets no line; chance decides, since clients may choose the id."""
        share = self._limits.sample()
        return share < 1 and scope["method"] in _READS and random.random() >= share  # noqa: S311 - no secret


def told(visit: Visit, fault: Exception) -> Problem:
    """Give the problem that an exception is for the client, and see that the log has what the client may not know."""
    problem = problem_of(fault)
    # Starlette raises once more what it has answered with a 500.
    if problem.status_code == HTTPStatus.INTERNAL_SERVER_ERROR != visit.status:
        structlog.get_logger().exception("request failed", request=visit.id, exc_info=fault)
    elif isinstance(fault, Unavailable):
        visit.facts["reason"] = str(fault)[:_MOST_REASON]
    return problem


def problem_response(problem: Problem, visit: Visit) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write the answer to a request that failed: status, headers, body."""
    body = problem.document(visit.id)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in (problem.headers or {}).items()]
    return problem.status_code, headers, body


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return str(new_id())


def _length(scope: Scope) -> int:
    """What a request says of the length of its body; the server has refused what is no number."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body of this request may have {most} octets")
