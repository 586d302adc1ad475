"""The console: pages for people who look after mail. It needs no JavaScript and calls the services, not the API."""

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from web.application import FAULTS, application
from web.console.desk import Desk
from web.console.pages import POLICY, STYLE, Pages
from web.console.sessions import Sessions
from web.console.visitor import SignedOut, Visitors
from web.edge import Edge, Limits, told, visit_of
from web.house import House

_MAX_FORM: Final = 65_536


def console(house: House) -> ASGIApp:
    """Make the application that `python -m web.console` serves."""
    settings, pages = house.settings, Pages()
    sessions = Sessions(house.tools.credential_key, settings.console_session_minutes * 60)
    visitors = Visitors(sessions, house.doorkeeper, secure=settings.console_secure_cookies)
    app = application("smtp-proxy console", house.condition, openapi_url=None)
    _answer_faults_with_pages(app, pages)
    app.add_api_route("/static/console.css", _style, methods=["GET"])
    Desk(house, visitors, pages).add_to(app)
    limits = Limits(
        body=lambda _: _MAX_FORM,
        in_flight=lambda: house.settings.web_max_bytes_in_flight,
        seconds=lambda: house.settings.web_request_seconds,
        sample=lambda: house.settings.web_log_sample,
        policy=POLICY,
    )
    return Edge(app, limits, house.condition, house.metrics)


async def _style() -> Response:
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


def _answer_faults_with_pages(app: FastAPI, pages: Pages) -> None:
    async def sign_in_first(_: Request, __: Exception) -> Response:
        return RedirectResponse("/sign-in", 303)

    async def show(request: Request, fault: Exception) -> Response:
        visit = visit_of(request.scope)
        problem = told(visit, fault)
        title = HTTPStatus(problem.status_code).phrase
        values = {"title": title, "detail": problem.detail or title, "request": visit.id}
        page = pages.page("fault", None, values, problem.status_code)
        page.headers.update(problem.headers or {})
        return page

    for fault in FAULTS:
        app.add_exception_handler(fault, show)
    app.add_exception_handler(SignedOut, sign_in_first)
