"""Makes the requests of a command out of what was given."""

import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from client.api import values
from client.api.command import Command, Given, Option, Place, Request
from client.api.errors import UsageError
from client.api.lists import listed

_JSON: Final = {"Content-Type": "application/json"}
_MESSAGE: Final = {"Content-Type": "message/rfc822"}
_NAME: Final = "Idempotency-Key"
_LINES: Final = 2000  # 2,000 addresses of the longest kind stay below the API's 1 MiB
_ENTRIES: Final = 1500  # and so do as many of them with what else is known of each


def requests(command: Command, given: Given) -> Iterator[Request]:
    """Make the requests of a command.

    Args:
        command: which one.
        given: what was written, by `Option.dest`; besides `body`, the name of a file.

    Raises:
        UsageError: what was given does not go together.
    """
    yield from (command.build or _plain)(command, given)


def submission(command: Command, given: Given) -> Iterator[Request]:
    """Submit a file: as a message with its envelope in the query, or as JSON."""
    is_json, query = "given_letter" in given, _query(command, given)
    if is_json and {"given_from", "given_to"} & given.keys():
        raise UsageError("--letter: the envelope of a message in JSON is made of its fields, not of --from and --to")
    if not is_json and not {"given_from", "given_to"} <= given.keys():
        raise UsageError("name the envelope of the message: --from ADDRESS --to ADDRESS")
    headers = _headers(command, given)
    yield Request(
        method=command.method,
        path=_path(command, given),
        query=query,
        body=values.octets(given["given_file"]),
        headers={**(_JSON if is_json else _MESSAGE), **headers},
        repeatable=True,
        name=headers[_NAME],
    )


def imported(command: Command, given: Given) -> Iterator[Request]:
    """Send what a file suppresses, so many at a time."""
    body, name = _body(command, given), given["given_file"]
    addresses, entries = listed(name, values.octets(name))
    bodies = [
        *(body | {"addresses": addresses[begin : begin + _LINES]} for begin in range(0, len(addresses), _LINES)),
        # What is said on the command line is said of all lines.
        *(
            {"entries": [entry | body for entry in entries[begin : begin + _ENTRIES]]}
            for begin in range(0, len(entries), _ENTRIES)
        ),
    ]
    whole = _headers(command, given)[_NAME]
    for part, each in enumerate(bodies):
        request = _request(command, given, each)
        # A name stands for one request: each part after the first has its own, made of that of the whole.
        named = f"{whole}.{part}" if part else whole
        yield replace(request, headers={**request.headers, _NAME: named}, name=whole)


def redriven(command: Command, given: Given) -> Iterator[Request]:
    """Bring back the letters that are named, or with --all, all."""
    if ("given_all" in given) == bool(given.get("given_id")):
        raise UsageError("name letters, or give --all")
    yield _request(command, given, {"ids": given.get("given_id") or None})


def rerouted(command: Command, given: Given) -> Iterator[Request]:
    """Send a message through the provider that is named, or with --rules, by the rules."""
    if ("given_rules" in given) == ("given_provider" in given):
        raise UsageError("name a provider, or give --rules")
    yield _request(command, given, _body(command, given))


def _plain(command: Command, given: Given) -> Iterator[Request]:
    body = _body(command, given)
    takes = command.whole or any(option.place is Place.BODY for option in command.options)
    yield _request(command, given, body if takes and (body or command.whole) else None)


def _request(command: Command, given: Given, body: Mapping[str, Any] | None) -> Request:
    headers = _headers(command, given)
    return Request(
        method=command.method,
        path=_path(command, given),
        query=_query(command, given),
        body=None if body is None else json.dumps(body).encode(),
        headers={**({} if body is None else _JSON), **headers},
        repeatable=command.method == "GET" or _NAME in headers,
        name=headers.get(_NAME, ""),
    )


def _values(command: Command, given: Given, place: Place) -> Iterator[tuple[Option, Any]]:
    for option in command.options:
        if option.place is place and option.dest in given:
            yield option, given[option.dest]


def _path(command: Command, given: Given) -> str:
    filled = {option.name: quote(value, safe="") for option, value in _values(command, given, Place.PATH)}
    if "" in filled.values() or {".", ".."} & set(filled.values()):
        raise UsageError("a name in the path is empty, or is dots")
    return command.path.format(**filled)


def _query(command: Command, given: Given) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for option, value in _values(command, given, Place.QUERY):
        found += [(option.name, str(each)) for each in (value if option.many else [value])]
    return found


def _headers(command: Command, given: Given) -> dict[str, str]:
    """The headers that were given; what makes something has a name, by which it can be repeated."""
    found = {option.name: str(value) for option, value in _values(command, given, Place.HEADER)}
    if any(option.name == _NAME for option in command.options):
        found.setdefault(_NAME, secrets.token_hex(16))
    return found


def _body(command: Command, given: Given) -> dict[str, Any]:
    """The JSON of a file, if one was given, and over it the fields that were given."""
    found: dict[str, Any] = values.body(given["body"]) if "body" in given else {}
    for option, value in _values(command, given, Place.BODY):
        *outer, last = option.name.split("/")
        level = found
        for name in outer:
            level = level.setdefault(name, {})
            if not isinstance(level, dict):
                raise UsageError(f"{option.flag} does not go with --{name}")
        _put(level, last, value)
    return found


def _put(level: dict[str, Any], name: str, value: Any) -> None:
    """Set a field; objects that are given in parts grow together."""
    is_parts = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    if not is_parts:
        level[name] = value
        return
    grown = level.setdefault(name, {})
    for part in value:
        for key, inner in part.items():
            both = isinstance(inner, dict) and isinstance(grown.get(key), dict)
            grown[key] = grown[key] | inner if both else inner
