"""Everything that the API can do has its command, and no command says what the API does not know."""

from typing import Any

import pytest

from client.api.command import Command, Place
from client.api.nouns import NOUNS
from tests.web.house import Door

pytestmark = pytest.mark.anyio
ROOT = "/api/v1"
NO_COMMAND = {("POST", "/provider-events/{id}"): "providers call it, and sign what they send"}
# Fields that are read from a file, and the one that only files are read into.
OF_FILES = {"suppressions add": {"entries"}, "suppressions import": {"addresses", "entries"}}
COMMANDS = [(noun.name, command) for noun in NOUNS for command in noun.commands]
NAMES = [f"{noun} {command.verb}" for noun, command in COMMANDS]


async def told(door: Door) -> dict[str, Any]:
    return (await door.get("/openapi.json")).json  # type: ignore[no-any-return]


async def test_every_operation_has_a_command(door: Door) -> None:
    paths = (await told(door))["paths"]
    operations = {(method.upper(), path.removeprefix(ROOT)) for path, methods in paths.items() for method in methods}
    assert len(operations) > 50
    assert {(command.method, command.path) for _, command in COMMANDS} == operations - NO_COMMAND.keys()
    assert NO_COMMAND.keys() <= operations
    assert len(NAMES) == len(set(NAMES))


async def test_every_parameter_and_field_can_be_given(door: Door) -> None:
    contract = await told(door)
    for name, command in zip(NAMES, (command for _, command in COMMANDS), strict=True):
        operation = contract["paths"][ROOT + command.path][command.method.lower()]
        parameters = operation.get("parameters", [])
        for place, where in ((Place.PATH, "path"), (Place.QUERY, "query"), (Place.HEADER, "header")):
            known = {each["name"] for each in parameters if each["in"] == where}
            assert named(command, place) == known, (name, where)
        if name not in {"messages submit", "dead-letters redrive"}:
            missing = OF_FILES.get(name, set())
            assert named(command, Place.BODY) | missing == fields(contract, operation), name


def named(command: Command, place: Place) -> set[str]:
    return {option.name.partition("/")[0] for option in command.options if option.place is place}


def fields(contract: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    references = [each["$ref"].rpartition("/")[2] for each in [schema, *schema.get("anyOf", [])] if "$ref" in each]
    return {name for each in references for name in contract["components"]["schemas"][each]["properties"]}


async def test_the_columns_of_tables_are_fields_of_items(door: Door) -> None:
    contract = await told(door)
    schemas, seen = contract["components"]["schemas"], 0
    for name, command in zip(NAMES, (command for _, command in COMMANDS), strict=True):
        columns = set(getattr(command.shows, "columns", ()))
        if columns:
            seen += 1
            operation = contract["paths"][ROOT + command.path]["get"]
            listed = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            item = schemas[listed]["properties"]["items"]["items"]["$ref"].rpartition("/")[2]
            assert columns <= set(schemas[item]["properties"]), name
            pages = {"cursor", "before"} & {each["name"] for each in operation.get("parameters", [])}
            assert {command.pages} - {None} == pages, name
    assert seen == 12


async def test_choices_of_messages_are_those_of_the_api(door: Door) -> None:
    schemas = (await told(door))["components"]["schemas"]
    given = {
        f"{name} {option.flag}": set(option.choices)
        for name, command in zip(NAMES, (command for _, command in COMMANDS), strict=True)
        for option in command.options
        if name.startswith("messages") and option.choices
    }
    states, orders = set(schemas["State"]["enum"]), set(schemas["Order"]["enum"])
    assert given == {
        "messages search --state": states,
        "messages order --state": states,
        "messages order order": {*orders, "reroute"},
    }
