"""AWS as moto plays it: what the program declares is made there for real, and what others refer to is what came out."""

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import boto3
import jmespath  # type: ignore[import-untyped] # it has no types, and comes with botocore
from botocore.config import Config
from pulumi.runtime import mocks

from infra import symbols

REGION = "us-east-1"
# What Pulumi puts behind a name that the program leaves to it, so that lengths are as they will be.
SUFFIX = "-1a2b3c4"
Values = dict[str, Any]
Made = tuple[str, Values]
Maker = Callable[["Cloud", str, Values], Made]


@dataclass
class Cloud:
    """One account of moto's, reached with keys that belong to it; every other test has another account."""

    endpoint: str
    account: str
    keys: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        first = cast("Any", boto3).client("sts", endpoint_url=self.endpoint, region_name=REGION)
        role = f"arn:aws:iam::{self.account}:role/deploys"
        made = first.assume_role(RoleArn=role, RoleSessionName="deploys")["Credentials"]
        self.keys = {
            "aws_access_key_id": made["AccessKeyId"],
            "aws_secret_access_key": made["SecretAccessKey"],
            "aws_session_token": made["SessionToken"],
        }
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """Returns a client of the account."""
        if service not in self._clients:
            make = cast("Any", boto3).client
            once = Config(retries={"total_max_attempts": 1})
            self._clients[service] = make(
                service, endpoint_url=self.endpoint, region_name=REGION, config=once, **self.keys
            )
        return self._clients[service]

    def do(self, service: str, operation: str, parameters: Values) -> Values:
        """Returns what an operation answers; AWS's refusal is raised."""
        client = self.client(service)
        method = next(name for name, called in client.meta.method_to_api_mapping.items() if called == operation)
        return getattr(client, method)(**parameters)

    def shape(self, service: str, operation: str) -> Any:
        """Returns what an operation takes."""
        return self.client(service).meta.service_model.operation_model(operation).input_shape


class Builder(mocks.Mocks):
    """Answers the program with what moto made of each resource, and with tokens where moto cannot."""

    def __init__(self, cloud: Cloud, makers: Mapping[str, Maker], without: Mapping[str, str]) -> None:
        self._cloud, self._makers, self._without = cloud, makers, without
        self._one_by_one = threading.Lock()
        self.made: dict[tuple[str, str], Values] = {}
        self.refused: list[str] = []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        inputs = cast("Values", _open(cast("Any", args).inputs))
        if not args.typ.startswith("aws:") or args.typ in self._without:
            return _token(args.typ, args.name, inputs)
        with self._one_by_one:
            try:
                made, outputs = self._makers[args.typ](self._cloud, args.name, dict(inputs))
            except Exception as error:  # noqa: BLE001 - all that AWS refuses is told at the end
                self.refused.append(f"{args.typ} {args.name}: {error!r}")
                return _token(args.typ, args.name, inputs)
            self.made[args.typ, args.name] = {"id": made, **outputs}
        return made, {**inputs, **outputs}

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise LookupError(f"the program must not look anything up, but called {args.token}")


def one(
    service: str,
    operation: str,
    made: str,
    *,
    named: str | None = None,
    renamed: Mapping[str, str] | None = None,
    **outputs: str,
) -> Maker:
    """Returns how a resource is made by one operation, whose parameters are the resource's inputs by their names.

    Args:
        service: as boto3 calls it.
        operation: as AWS calls it.
        made: the id, where `<path>` stands for a value of AWS's answer, of the inputs, or `account`.
        named: the input that Pulumi makes a name for.
        renamed: inputs whose parameter has another name.
        outputs: what else dependants may read, written as the id is.
    """

    def make(cloud: Cloud, name: str, inputs: Values) -> Made:
        if named:
            inputs.setdefault(named, name + SUFFIX)
        given = {(renamed or {}).get(key, key): value for key, value in inputs.items()}
        answer = cloud.do(service, operation, fill(cloud.shape(service, operation), given))
        known = {"account": cloud.account, "name": name, **inputs, **answer}
        told = {key: told_by(path, known) for key, path in outputs.items()}
        kept = {named: inputs[named]} if named else {}
        return told_by(made, known), {**kept, **told}

    return make


def told_by(text: str, known: Values) -> str:
    """Returns a text with `<path>` replaced by what is known there."""
    return re.sub(r"<([^>]+)>", lambda found: str(jmespath.search(found[1], known)), text)


def fill(shape: Any, values: Mapping[str, Any]) -> Values:
    """Returns parameters of a shape: what has the same name in another notation, converted to the shape's types."""
    members = {_plain(name): (name, member) for name, member in shape.members.items()}
    found = {members[_plain(key)]: value for key, value in values.items() if _plain(key) in members}
    return {name: _convert(member, value) for (name, member), value in found.items()}


def _convert(shape: Any, value: Any) -> Any:
    match shape.type_name:
        case "structure":
            parsed: Any = json.loads(value) if isinstance(value, str) else value
            return fill(shape, cast("Any", parsed[0] if isinstance(parsed, list) else parsed))
        case "list":
            return _listed(shape, json.loads(value) if isinstance(value, str) else value)
        case "integer" | "long":
            return int(value)
        case "double" | "float":
            return float(value)
        case "string":
            return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        case _:
            return value


def _listed(shape: Any, value: Any) -> list[Any]:
    if isinstance(value, dict) and {"Value", "value"} & set(_members(shape)):
        # Tags and dimensions, which are pairs in AWS.
        key, text = sorted(_members(shape))[:2]
        return [{key: name, text: item} for name, item in cast("Values", value).items()]
    items = cast("list[Any]", value if isinstance(value, list) else [value])
    return [_convert(shape.member, item) for item in items]


def _members(shape: Any) -> Mapping[str, Any]:
    return shape.member.members if shape.member.type_name == "structure" else {}


@cache
def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")


def _open(value: Any) -> Any:
    """Returns a value without the wrapping that marks secrets."""
    if isinstance(value, list):
        return [_open(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    items = cast("Values", value)
    if "4dabf18193072939515e22adb298388d" in items:
        return _open(items["value"])
    return {key: _open(item) for key, item in items.items()}


def _token(kind: str, name: str, inputs: Values) -> tuple[str, Values]:
    return f"${{{name}.id}}", {**symbols.outputs(kind, name), **inputs}
