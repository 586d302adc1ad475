"""The operations of the API as a table, and how a table becomes routes."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
from starlette.requests import Request

from mail.keys import Scope
from web.problems import MEDIA_TYPE, Problem

ROOT: Final = "/api/v1"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that the API does.

    Attributes:
        path: below the root.
        scope: what a key needs for it.
        status: of success.
        faults: statuses that it may answer with beside those that all may.
        extra: what OpenAPI is told besides.
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

    @classmethod
    def of(cls, row: Row) -> "Operation":
        """Make one of a row of a table."""
        method, path, scope, does, summary, status, faults = row
        return cls(method=method, path=path, scope=scope, does=does, summary=summary, status=status, faults=faults)


def add(app: FastAPI, tag: str, operations: Iterable[Operation]) -> None:
    """Make routes of a table."""
    for each in operations:
        app.add_api_route(
            ROOT + each.path,
            each.does,
            methods=[each.method],
            status_code=each.status,
            summary=each.summary,
            description=f"{each.does.__doc__ or each.summary}\n\nScope: `{each.scope}`.",
            operation_id=each.does.__qualname__.replace(".", "_").lower(),
            tags=[tag],
            dependencies=[Depends(_needs(app, each))],
            responses=fault_responses(*_ALWAYS, *each.faults),
            response_model_exclude_none=False,
            openapi_extra={"security": [{"key": []}], **each.extra},
        )


def fault_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Tell OpenAPI how an operation may fail."""
    return {status: _response(_ALWAYS.get(status) or _SOMETIMES[status]) for status in sorted(set(statuses))}


def _needs(app: FastAPI, operation: Operation) -> Callable[[Request], Awaitable[None]]:
    """Refuse a key without the scope, and a query that has what the operation does not know."""
    known: list[frozenset[str]] = []

    async def check(request: Request) -> None:
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
    """The parameters that OpenAPI tells of: what is not in the contract is not taken."""
    told = app.openapi()["paths"][ROOT + operation.path][operation.method.lower()].get("parameters", [])
    return frozenset(each["name"] for each in told if each["in"] == "query")


def _response(words: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}
