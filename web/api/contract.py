"""What OpenAPI is told beside routes and their models: headers, links from an operation to the next, examples."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from web.api.examples import GIVEN, OCTETS, TAKEN
from web.api.letters import Letter
from web.api.operations import ROOT, ProblemDetails
from web.problems import MEDIA_TYPE

_JSON: Final = "application/json"
Document = dict[str, Any]
# What is made, by what makes it: its collection, and where its name stands in the answer (RFC 6901).
MAKES: Final[Mapping[str, tuple[str, str]]] = {
    f"{ROOT}/accounts": ("/accounts", "/account/name"),
    f"{ROOT}/accounts/{{name}}/rotate-key": ("/keys", "/prefix"),
    f"{ROOT}/credentials": ("/credentials", "/username"),
    f"{ROOT}/keys": ("/keys", "/prefix"),
    f"{ROOT}/keys/{{prefix}}/rotate": ("/keys", "/prefix"),
    f"{ROOT}/messages": ("/messages", "/id"),
    f"{ROOT}/providers": ("/providers", "/name"),
    f"{ROOT}/providers/{{name}}/tests": ("/providers/{name}/tests", "/id"),
    f"{ROOT}/rules": ("/rules", "/name"),
    f"{ROOT}/webhooks": ("/webhooks", "/id"),
}
_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
# Name, what it says, schema, example.
_HEADERS: Final[tuple[tuple[str, str, Mapping[str, Any], Any], ...]] = (
    ("X-Request-Id", "Correlation id: yours, or made.", _TEXT, "019f3c1e-5a00-7c4e-9d2b-6f1a2b3c4d5e"),
    ("RateLimit-Limit", "Requests that the key may make in a minute.", _COUNT, 100),
    ("RateLimit-Remaining", "Those that are left.", _COUNT, 99),
    ("RateLimit-Reset", "Seconds until they are counted anew.", _COUNT, 42),
    ("RateLimit-Policy", "The same as one field: quota and window.", _TEXT, '"key";q=100;w=60'),
    ("RateLimit", "The same as one field: remaining and reset.", _TEXT, '"key";r=99;t=42'),
    ("Retry-After", "Seconds to wait before it is tried again.", _COUNT, 2),
    ("WWW-Authenticate", "How a key is shown.", _TEXT, 'Bearer realm="smtp-proxy"'),
    ("ETag", "The version that is shown; send it as If-Match.", _TEXT, '"6f1a2b3c4d5e6f708192a3b4c5d6e7f8"'),
    ("Location", "Where what was made is.", {"type": "string", "format": "uri-reference"}, f"{ROOT}/rules/far"),
)
_LIMITED: Final = tuple(name for name, *_ in _HEADERS if name.startswith("RateLimit"))
# What a key has been counted for; the others may be answered before, or without it.
_COUNTED: Final = frozenset({200, 201, 202, 204, 403, 404, 409, 412, 415, 422})
_OWN: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    412: ("ETag",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


def contract(app: FastAPI) -> Document:
    """Give what OpenAPI tells of an application; it is made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _complete(made)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(made: Document) -> None:
    components = made.setdefault("components", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    components["headers"] = {
        name: {"description": words, "required": True, "schema": schema, "example": example}
        for name, words, schema, example in _HEADERS
    }
    schemas = components.setdefault("schemas", {})
    # What no route has as its model.
    for model in (ProblemDetails, Letter):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    _show(schemas)
    problems: Document = components.setdefault("responses", {})
    for path, method, operation in _operations(made):
        _exemplify(operation.get("requestBody", {}).get("content", {}))
        for status, answer in operation["responses"].items():
            _answer(answer, int(status))
            _head(answer, int(status), operation)
        _version(made["paths"][path], method, operation)
        _link(made["paths"], path, method, operation)
        _share(operation, problems)


def _operations(made: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def success_of(operation: Document) -> tuple[int, Document]:
    """Give the status and the answer of an operation that goes well."""
    return next((int(status), answer) for status, answer in operation["responses"].items() if status < "300")


def _show(schemas: Document) -> None:
    """Give each model that is sent or given an example; of a list, one of its items."""
    for name, example in {**TAKEN, **GIVEN}.items():
        schemas[name]["examples"] = [example]
    for schema in schemas.values():
        items = schema.get("properties", {}).get("items", {}).get("items", {}).get("$ref")
        if items is not None:
            schema["examples"] = [{"items": [GIVEN[items.rpartition("/")[2]]], "next": None}]


def _answer(answer: Document, status: int) -> None:
    content = answer.get("content", {})
    if MEDIA_TYPE in content:
        content[MEDIA_TYPE]["example"] = _problem(status)
    if set(content) - {_JSON, MEDIA_TYPE}:
        # FastAPI tells of JSON where a function writes its answer itself.
        content.pop(_JSON, None)
    _exemplify(content)


def _exemplify(content: Document) -> None:
    for kind in set(content) & set(OCTETS):
        content[kind] = {"schema": _TEXT, **content[kind], "example": OCTETS[kind]}


def _problem(status: int) -> Document:
    told: Document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    told["request"] = "019f3c1e-5a00-7c4e-9d2b-6f1a2b3c4d5e"
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        told["errors"] = [{"where": "body/to/0/address", "what": "Field required"}]
    return told


def _head(answer: Document, status: int, operation: Document) -> None:
    counted = _LIMITED if operation["security"] and status in _COUNTED else ()
    for name in ("X-Request-Id", *counted, *_OWN.get(status, ())):
        _tell(answer, name)


def _share(operation: Document, problems: Document) -> None:
    """Tell of each problem once: it is the same wherever a key is shown, and where none is."""
    for status, answer in operation["responses"].items():
        if status >= "400":
            name = status if operation["security"] else f"{status}WithoutKey"
            problems[name] = answer
            operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}


def _tell(answer: Document, name: str) -> None:
    answer.setdefault("headers", {})[name] = {"$ref": f"#/components/headers/{name}"}


def _version(methods: Document, method: str, operation: Document) -> None:
    """What takes If-Match is shown with its ETag, which leads to what may be done with that version."""
    takers = [other for other in methods.values() if _takes(other, "If-Match")]
    if not takers or method not in {"get", "patch"}:
        return
    _, answer = success_of(operation)
    _tell(answer, "ETag")
    for taker in takers if method == "get" else ():
        given = {name: f"$request.path.{name}" for name in _named(operation, "path")}
        _add_link(answer, operation, taker, given | {"If-Match": "$response.header.ETag"})


def _link(paths: Document, path: str, method: str, operation: Document) -> None:
    """What makes something says where it is, and leads to all that can be done with it."""
    if method != "post" or path not in MAKES:
        return
    (collection, pointer), (_, answer) = MAKES[path], success_of(operation)
    _tell(answer, "Location")
    one, own = f"{ROOT}{collection}/{{", {each: f"$request.path.{each}" for each in _named(operation, "path")}
    within = {name: place for name, place in own.items() if f"{{{name}}}" in collection}
    for below, methods in paths.items():
        if below.startswith(one):
            name = below.removeprefix(one).partition("}")[0]
            for target in methods.values():
                _add_link(answer, operation, target, {**within, name: f"$response.body#{pointer}"})


def _add_link(answer: Document, source: Document, target: Document, given: Mapping[str, str]) -> None:
    of = {"account": "$request.query.account"} if _takes(source, "account") and _takes(target, "account") else {}
    link = {"operationId": target["operationId"], "description": target["summary"], "parameters": {**given, **of}}
    answer.setdefault("links", {})[target["operationId"]] = link


def _takes(operation: Document, name: str) -> bool:
    return any(each["name"] == name for each in operation.get("parameters", []))


def _named(operation: Document, place: str) -> list[str]:
    return [each["name"] for each in operation.get("parameters", []) if each["in"] == place]
