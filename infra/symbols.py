"""Stand-ins for what AWS answers: every text a resource returns is a token naming where it came from."""

import importlib
import inspect
from typing import Any

from pulumi import Output

_ACCOUNT = "${account}"
_REGION = "${region}"
_TEXTS = (Output[str], Output[str | None])


def resource_class(kind: str) -> type[Any] | None:
    """Returns the SDK's class of a type token such as aws:sqs/queue:Queue; components and providers have none."""
    package, module, name = kind.split(":")
    if package != "aws":
        return None
    return getattr(importlib.import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)


def outputs(kind: str, name: str) -> dict[str, str]:
    """Returns a token for each text the resource returns, ARNs in the shape of an ARN."""
    found = resource_class(kind)
    if found is None:
        return {}
    texts = [
        key
        for key, member in inspect.getmembers(found, inspect.isdatadescriptor)
        if isinstance(member, property)
        and member.fget is not None
        and member.fget.__annotations__.get("return") in _TEXTS
    ]
    tokens = {_camel(key): f"${{{name}.{key}}}" for key in texts}
    if "arn" in tokens:
        tokens["arn"] = _arn(kind.split(":")[1].partition("/")[0], tokens["arn"])
    return tokens


def _arn(service: str, token: str) -> str:
    region, account = {"s3": ("", ""), "iam": ("", _ACCOUNT)}.get(service, (_REGION, _ACCOUNT))
    return f"arn:aws:{service}:{region}:{account}:{token}"


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)
