"""The HTTP API, put together."""

from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

from web.api.accounts import Accounts
from web.api.bodies import Route
from web.api.certificates import Certificates
from web.api.contract import contract
from web.api.credentials import Credentials
from web.api.events import PATH, ProviderEvents
from web.api.fading import NOTICE
from web.api.gate import Gate
from web.api.health import Health
from web.api.inquiries import Inquiries
from web.api.keys import Keys
from web.api.messages import Messages
from web.api.operations import ROOT
from web.api.orders import BulkOrders
from web.api.oversight import Oversight
from web.api.providers import Providers
from web.api.repeats import Replayed, replay
from web.api.rules import Rules
from web.api.statistics import Statistics
from web.api.submissions import Submissions
from web.api.suppressions import Suppressions
from web.api.webhooks import Webhooks
from web.application import application
from web.edge import Edge, Limits
from web.house import House
from web.settings import WebSettings

SUBMISSION: Final = f"{ROOT}/messages"
_RESOURCES: Final = (
    Messages,
    BulkOrders,
    Submissions,
    Statistics,
    Accounts,
    Credentials,
    Keys,
    Providers,
    Health,
    Rules,
    Suppressions,
    Webhooks,
    Inquiries,
    Oversight,
    Certificates,
    ProviderEvents,
)
_ABOUT: Final = (
    "Everything that an account can do with its mail, and an operator with all accounts. Keys are shown as "
    "`Authorization: Bearer KEY`. Times are UTC (RFC 3339) of the years 1970 to 9000, ids are UUIDs (version 7), lists "
    "come in pages, and what goes wrong is told as problem details (RFC 9457). What is to go is marked as deprecated "
    f"and stays for {NOTICE.days} days at least; each of its answers tells of it in Deprecation (RFC 9745) and Sunset "
    "(RFC 8594)."
)


def api(house: House) -> ASGIApp:
    """Make the application that `python -m web.api` serves."""
    return guarded(documented(house), house)


def guarded(app: FastAPI, house: House) -> ASGIApp:
    """Put what checks keys and limits before an application."""
    gate = Gate(app, (PATH,), house.doorkeeper, house.rates, house.metrics)
    limits = Limits(
        body=lambda scope: body_limit(scope, house.settings),
        in_flight=lambda: house.settings.web_max_bytes_in_flight,
        seconds=lambda: house.settings.web_request_seconds,
        sample=lambda: house.settings.web_log_sample,
    )
    return Edge(gate, limits, house.condition, house.metrics)


def documented(house: House) -> FastAPI:
    """Make its routes, with what OpenAPI tells of them."""
    app = application("smtp-proxy", house.condition, description=_ABOUT, openapi_url="/openapi.json")
    app.router.route_class = Route
    app.add_exception_handler(Replayed, replay)
    for resource in _RESOURCES:
        resource(house).add_to(app)
    app.openapi = lambda: contract(app)  # type: ignore[method-assign]  # as FastAPI's documentation extends it
    return app


def body_limit(scope: Scope, settings: WebSettings) -> int:
    """Most octets of a request's body; a message may be larger than all else."""
    is_message = scope["method"] == "POST" and scope["path"] == SUBMISSION
    return settings.web_max_message_bytes if is_message else settings.web_max_body_bytes
