"""The SDK's own tables as a schema: names and types of every property of every resource."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pulumi._types import is_output_type, output_type_types, resource_types

from infra import symbols
from infra.graph import Node


def properties(kind: str) -> Mapping[str, Any]:
    found = symbols.resource_class(kind)
    return resource_types(found) if found else {}


def problems(node: Node) -> list[str]:
    return list(_object(properties(node.type), node.inputs, node.name))


def _object(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> typing.Iterator[str]:
    for key, item in value.items():
        if key in schema:
            yield from _value(schema[key], item, f"{path}.{key}")
        else:
            yield f"{path}.{key}: no such property"


def _value(kind: Any, value: Any, path: str) -> typing.Iterator[str]:
    options = [option for option in typing.get_args(kind) if option is not type(None)]
    origin = typing.get_origin(kind)
    if origin is typing.Union:
        yield from _value(options[0], value, path) if len(options) == 1 else ()
    elif origin in {list, Sequence}:
        yield from _list(options[0], value, path)
    elif not isinstance(value, dict) and is_output_type(kind):
        yield f"{path}: {value!r} is not an object"
    elif is_output_type(kind):
        yield from _object(output_type_types(kind), typing.cast("dict[str, Any]", value), path)
    elif not _fits(kind, value):
        yield f"{path}: {value!r} is not {kind}"


def _list(kind: Any, value: Any, path: str) -> typing.Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is not a list"
        return
    for number, item in enumerate(typing.cast("list[Any]", value)):
        yield from _value(kind, item, f"{path}[{number}]")


def _fits(kind: Any, value: Any) -> bool:
    # Numbers travel as floats on Pulumi's wire.
    checks = {
        bool: lambda: isinstance(value, bool),
        str: lambda: isinstance(value, str),
        int: lambda: isinstance(value, float) and value.is_integer(),
        float: lambda: isinstance(value, float),
    }
    return kind not in checks or checks[kind]()
