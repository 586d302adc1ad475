"""The operations of the API as a table, and how a table becomes routes."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

from mail.keys import Scope
from web.api.bodies import Route
from web.api.fading import Fading
from web.api.repeats import REPLAYED, IdempotencyKey, OnlyOnce, takes
from web.problems import MEDIA_TYPE, Problem

ROOT: Final = "/api/v1"
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Fault(BaseModel):
    """What is wrong at one place of a request."""

    where: str = Field(examples=["body/to/0/address"])
    what: str = Field(examples=["Field required"])


class ProblemDetails(BaseModel):
    """What goes wrong, as RFC 9457 has it."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str | None = Field(None, description="What is wrong with this request, and what to do.")
    request: str = Field(description="Correlation id, by which our log names the request; also in X-Request-Id.")
    errors: list[Fault] | None = Field(None, description="What is wrong where.")


# Method, path, scope, what does it, summary, status of success, statuses of its own faults.
Row = tuple[str, str, Scope, Callable[..., Any], str, int, tuple[int, ...]]

_ALWAYS: Final[Mapping[int, str]] = {
    400: "It is not of the form that it should have.",
    401: "No key was shown, or no good one.",
    403: "The key lacks the scope.",
    413: "The body is too large.",
    422: "The request is not as it should be.",
    429: "Too often: see Retry-After.",
    500: "An error of ours.",
    503: "Something that we lean on does not answer: see Retry-After.",
}
_SOMETIMES: Final[Mapping[int, str]] = {
    404: "There is nothing of this name, or it is another account's.",
    409: "It cannot be done as things stand.",
    412: "It was changed meanwhile: If-Match is of another version.",
    415: "The body is of a media type that is not taken.",
}
_OF_BODIES: Final = dict.fromkeys(("POST", "PUT", "PATCH"), (415,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that the API does.

    Attributes:
        path: below the root; a name in it that may have a slash is `{name:path}`.
        scope: what a key needs for it.
        status: of success.
        faults: statuses that it may answer with beside those that all may.
        extra: what OpenAPI is told besides.
        fading: that it is deprecated, if it is.
        does: the function that does it.
    """

    method: str
    path: str
    scope: Scope
    does: Callable[..., Any]
    summary: str
    status: int = 200
    faults: tuple[int, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    fading: Fading | None = None

    @classmethod
    def of(cls, row: Row) -> "Operation":
        """Make one of a row of a table."""
        method, path, scope, does, summary, status, faults = row
        return cls(method=method, path=path, scope=scope, does=does, summary=summary, status=status, faults=faults)


def add(app: FastAPI, tag: str, operations: Iterable[Operation]) -> None:
    """Make routes of a table."""
    for each in operations:
        app.router.add_api_route(
            ROOT + each.path,
            each.does,
            methods=[each.method],
            status_code=each.status,
            summary=each.summary,
            description=_description(each),
            operation_id=each.does.__qualname__.replace(".", "_").lower(),
            tags=[tag],
            route_class_override=_guarded(_needs(app, each)),
            responses=_responses(each),
            response_model_exclude_none=False,
            deprecated=True if each.fading else None,
            openapi_extra={"security": [{"key": []}], **each.extra, **_fading(each)},
        )


def _description(operation: Operation) -> str:
    fading = f"\n\n{operation.fading.words()}" if operation.fading else ""
    return f"{operation.does.__doc__ or operation.summary}{fading}\n\nScope: `{operation.scope}`."


def _fading(operation: Operation) -> dict[str, Any]:
    return operation.fading.told(operation.status) if operation.fading else {}


def _responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """Tell OpenAPI how an operation may fail, and which headers it may answer with."""
    once = [409] if takes(operation.does, OnlyOnce) else []
    faults = fault_responses(*_ALWAYS, *_OF_BODIES.get(operation.method, ()), *operation.faults, *once)
    if not takes(operation.does, OnlyOnce, IdempotencyKey):
        return faults
    header = {"description": "`true` where an earlier call was answered so.", "schema": {"const": "true"}}
    return {operation.status: {"headers": {REPLAYED: header}}, **faults}


def fault_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Tell OpenAPI how an operation may fail."""
    return {status: _response(_ALWAYS.get(status) or _SOMETIMES[status]) for status in sorted(set(statuses))}


def _guarded(check: Callable[[Request], None]) -> type[Route]:
    """Make the kind of route that checks a request before anything of it is read."""

    class Guarded(Route):
        @override
        def get_route_handler(self) -> _Handler:
            handler = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                check(request)
                return await handler(request)

            return guarded

    return Guarded


def _needs(app: FastAPI, operation: Operation) -> Callable[[Request], None]:
    """Refuse a key without the scope, and a query that has what the operation does not know."""
    known: list[frozenset[str]] = []

    def check(request: Request) -> None:
        if operation.scope not in request.scope["state"]["key"].scopes:
            raise Problem(403, f"this needs a key with the scope {operation.scope}")
        if not known:
            known.append(_query_names(app, operation))
        for name in request.query_params:
            if name not in known[0]:
                words = f"there is no parameter {name[:64]!r}; there are: {', '.join(sorted(known[0])) or 'none'}"
                raise Problem(422, words)

    return check


def _query_names(app: FastAPI, operation: Operation) -> frozenset[str]:
    """The parameters that OpenAPI tells of: what is not in the contract is not taken.

    It is asked for the one route: the whole contract takes a large part of a second.
    """
    path, method = ROOT + operation.path, operation.method
    routes = [
        each for each in app.routes if isinstance(each, Route) and each.path == path and method in (each.methods or ())
    ]
    (paths,) = get_openapi(title=app.title, version=app.version, routes=routes)["paths"].values()
    told = paths[method.lower()].get("parameters", [])
    return frozenset(each["name"] for each in told if each["in"] == "query")


def _response(words: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}
