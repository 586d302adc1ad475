"""What both doors' applications have alike: how faults are answered, and what load balancers ask for."""

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from backing.admin.desk import AdminError
from backing.health import version
from mail.errors import Refused, Unavailable
from web.edge import Condition, problem_response, told, visit_of

FAULTS: Final = (HTTPException, RequestValidationError, AdminError, Refused, Unavailable, Exception)


def application(title: str, condition: Condition, **options: Any) -> FastAPI:
    """Make an application that answers every fault with problem details, and load balancers."""
    app = FastAPI(
        title=title,
        version=version(),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        # It asks with each request whether somebody has set it up; we have metrics and a log of our own.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        **options,
    )
    for fault in FAULTS:
        app.add_exception_handler(fault, answer)
    _add_probes(app, condition)
    return app


async def answer(request: Request, fault: Exception) -> Response:
    """Answer a request that failed."""
    visit = visit_of(request.scope)
    status, headers, body = problem_response(told(visit, fault), visit)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = [header for header in headers if header[0] != b"allow"] + [(b"allow", _methods(request))]
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _methods(request: Request) -> bytes:
    """All methods of a path (RFC 9110, 15.5.6): each is a route of its own, and the router names those of one."""
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in routes for method in route.methods})).encode()


def _add_probes(app: FastAPI, condition: Condition) -> None:
    release = app.version

    async def alive() -> Response:
        return JSONResponse({"status": "alive", "version": release})

    async def ready() -> Response:
        return JSONResponse({"status": condition.word, "version": version()}, 200 if condition.ready else 503)

    async def which() -> Response:
        return JSONResponse({"version": release})

    for path, probe in (("/livez", alive), ("/healthz", alive), ("/readyz", ready), ("/version", which)):
        app.add_api_route(path, probe, methods=["GET"], include_in_schema=False)
