"""Bodies of requests: JSON that is read by one rule, whoever reads it."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NoReturn

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from mail.nesting import MAX_DEPTH, deeper_than
from web.api.fading import raw_headers
from web.problems import Problem

JSON: Final = "application/json"


def read(body: bytes) -> Any:
    """Read JSON (RFC 8259): in UTF-8, of a depth that can be stored and shown, and with each name once in an object.

    Raises:
        Problem: 400, it is not so.
    """
    if deeper_than(MAX_DEPTH, body):
        raise Problem(400, f"the body is nested too deep: lists and objects may be nested {MAX_DEPTH} levels")
    try:
        return json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as fault:
        raise Problem(400, f"the body is not JSON: {fault}") from None


def media_type(request: Request) -> str:
    """Give the media type of a body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


class JsonRequest(Request):
    """A request whose JSON is read by our rule."""

    async def json(self) -> Any:
        """Read its body. Raises as `read`."""
        return read(await self.body())


class Route(APIRoute):
    """A route whose body, where it takes one, is JSON and nothing else (RFC 9110, 15.5.16).

    Where it is deprecated, each of its answers says so.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        fading = raw_headers(self.openapi_extra)

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *fading]
            await send(message)

        await super().handle(scope, receive, told if fading else send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers."""
        answer, takes = super().get_route_handler(), self.body_field is not None

        async def checked(request: Request) -> Response:
            asked = JsonRequest(request.scope, request.receive)
            if takes and media_type(asked) != JSON and await asked.body():
                raise Problem(415, f"send {JSON}", {"Accept": JSON})
            return await answer(asked)

        return checked


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"an object has the name {twice[:64]!r} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
