"""The HTTP API, put together."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Scope

from web.api.access import Access
from web.api.accounts import Accounts
from web.api.certificates import Certificates
from web.api.events import PATH, ProviderEvents
from web.api.gate import Gate
from web.api.health import Health
from web.api.letters import Letter
from web.api.messages import Messages
from web.api.operations import ROOT, ProblemDetails
from web.api.orders import BulkOrders
from web.api.oversight import Oversight
from web.api.providers import Providers
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
    Access,
    Providers,
    Health,
    Rules,
    Suppressions,
    Webhooks,
    Oversight,
    Certificates,
    ProviderEvents,
)
_ABOUT: Final = (
    "Everything that an account can do with its mail, and an operator with all accounts. Keys are shown as "
    "`Authorization: Bearer KEY`. Times are UTC (RFC 3339), ids are UUIDs (version 7), lists come in pages, and what "
    "goes wrong is told as problem details (RFC 9457)."
)


def api(house: House) -> ASGIApp:
    """Make the application that `python -m web.api` serves."""
    settings = house.settings
    app = documented(house)
    gate = Gate(app, (PATH,), house.doorkeeper, house.rates, house.metrics)
    limits = Limits(
        body=lambda scope: body_limit(scope, settings),
        in_flight=settings.web_max_bytes_in_flight,
        seconds=settings.web_request_seconds,
    )
    return Edge(gate, limits, house.condition, house.metrics)


def documented(house: House) -> FastAPI:
    """Make its routes, with what OpenAPI tells of them."""
    app = application("smtp-proxy", house.condition, description=_ABOUT, openapi_url="/openapi.json")
    for resource in _RESOURCES:
        resource(house).add_to(app)
    app.openapi = lambda: _contract(app)  # type: ignore[method-assign]  # as FastAPI's documentation extends it
    return app


def body_limit(scope: Scope, settings: WebSettings) -> int:
    """Most octets of a request's body; a message may be larger than all else."""
    is_message = scope["method"] == "POST" and scope["path"] == SUBMISSION
    return settings.web_max_message_bytes if is_message else settings.web_max_body_bytes


def _contract(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = made.setdefault("components", {})
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schemas = components.setdefault("schemas", {})
        # What no route has as its model.
        for model in (ProblemDetails, Letter):
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
        app.openapi_schema = made
    return app.openapi_schema
