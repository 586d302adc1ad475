"""What a client is told that goes wrong: problem details (RFC 9457), never more than it may know."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from backing.admin.desk import AdminError, Conflict, NotFound, TooOften
from mail.errors import Refused, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
# Long enough for a pool to clear or a failover to get on, short enough to be noticed by nobody.
RETRY_SECONDS: Final = 2
_MOST_ERRORS: Final = 20
Errors = Sequence[Mapping[str, str]]


class Problem(HTTPException):
    """An answer that is no success.

    Args:
        status: of HTTP.
        detail: what is wrong with this request, and what to do.
        headers: to go with it.
        errors: what is wrong where in the request.
    """

    def __init__(
        self, status: int, detail: str = "", headers: Mapping[str, str] | None = None, errors: Errors = ()
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.errors = errors

    def document(self, request: str) -> bytes:
        """Write it for a client.

        Args:
            request: correlation id, by which it is found in the log.
        """
        found: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(self.status_code).phrase}
        found |= {"status": self.status_code, "request": request}
        if self.detail:
            found["detail"] = self.detail
        if self.errors:
            found["errors"] = list(self.errors)
        return orjson.dumps(found)


def problem_of(fault: Exception) -> Problem:
    """Say to the client what an exception means for it; of what is our own fault, nothing but that it is."""
    for kind, say in _MEANINGS:
        if isinstance(fault, kind):
            return say(fault)
    return Problem(500, "an error of ours; the request id names it in our log")


def unavailable(detail: str) -> Problem:
    """Say that it can be tried again."""
    return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})


def _words(fault: HTTPException) -> str:
    """What a library says beside the name of the status."""
    return "" if fault.detail == HTTPStatus(fault.status_code).phrase else fault.detail


def faults_of(errors: Sequence[Any], *within: str) -> Errors:
    """What is wrong where, as pydantic has found it; what was sent is not repeated, since it may be a secret."""
    return [
        {
            "where": "/".join(map(str, (*within, *error["loc"]))),
            "what": str(error["msg"]).removeprefix("Value error, "),
        }
        for error in errors[:_MOST_ERRORS]
    ]


# The first that fits counts.
_MEANINGS: Final[tuple[tuple[type[Exception], Callable[[Any], Problem]], ...]] = (
    (Problem, lambda fault: fault),
    (HTTPException, lambda fault: Problem(fault.status_code, _words(fault), fault.headers)),
    (
        RequestValidationError,
        lambda fault: Problem(422, "the request is not as it should be", errors=faults_of(fault.errors())),
    ),
    (NotFound, lambda fault: Problem(404, fault.why)),
    (Conflict, lambda fault: Problem(409, fault.why)),
    (TooOften, lambda fault: Problem(429, str(fault), {"Retry-After": f"{max(fault.seconds, 1):.0f}"})),
    (AdminError, lambda fault: Problem(422, fault.why)),
    (Refused, lambda fault: Problem(422, fault.reply.text)),
    (Unavailable, lambda _: unavailable("something that we lean on does not answer in time; try again")),
    (TimeoutError, lambda _: unavailable("there was no answer in time; try again")),
)
