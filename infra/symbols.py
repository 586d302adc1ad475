"""Stand-ins for what AWS answers: every text a resource returns is a token naming where it came from."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pulumi import Output

_ACCOUNT = "${account}"
_REGION = "${region}"
_TEXTS = (Output[str], Output[str | None])

# What a resource returns beside texts, where the program reads it. The names are AWS's, the values tokens again.
STRUCTURES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "aws:acm/certificate:Certificate": lambda name: {
        "domainValidationOptions": [
            {
                "domainName": f"${{{name}.domain}}",
                "resourceRecordName": f"${{{name}.record_name}}",
                "resourceRecordType": "CNAME",
                "resourceRecordValue": f"${{{name}.record_value}}",
            }
        ]
    },
    "aws:elasticache/serverlessCache:ServerlessCache": lambda name: {
        "endpoints": [{"address": f"${{{name}.address}}", "port": 6379}]
    },
    "aws:rds/instance:Instance": lambda name: {
        "masterUserSecrets": [{"secretArn": f"${{{name}.master_secret_arn}}", "secretStatus": "active"}]
    },
    "aws:route53/zone:Zone": lambda name: {"nameServers": [f"${{{name}.name_server_{n}}}" for n in range(4)]},
    "aws:sesv2/emailIdentity:EmailIdentity": lambda name: {
        "dkimSigningAttributes": {"tokens": [f"${{{name}.dkim_token_{n}}}" for n in range(3)]}
    },
    "docker-build:index:Image": lambda name: {"ref": f"${{{name}.ref}}", "digest": f"${{{name}.digest}}"},
}


def resource_class(kind: str) -> type[Any] | None:
    """Returns the SDK's class of a type token such as aws:sqs/queue:Queue; components and providers have none."""
    package, module, name = kind.split(":")
    if package != "aws":
        return None
    return getattr(importlib.import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)


def outputs(kind: str, name: str) -> dict[str, Any]:
    """Returns a token for each text the resource returns, ARNs in the shape of an ARN."""
    found = resource_class(kind)
    structures = STRUCTURES.get(kind, _nothing)(name)
    if found is None:
        return structures
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
    return tokens | structures


def _nothing(_name: str) -> dict[str, Any]:
    return {}


def _arn(module: str, token: str) -> str:
    # The SDK has a module for each version of an API; ARNs know the service only.
    service = {"sesv2": "ses"}.get(module, module)
    region, account = {"s3": ("", ""), "iam": ("", _ACCOUNT)}.get(service, (_REGION, _ACCOUNT))
    return f"arn:aws:{service}:{region}:{account}:{token}"


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)
