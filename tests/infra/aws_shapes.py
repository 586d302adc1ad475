"""AWS's API models as a schema: enumerations, ranges and lengths, found by matching names. No network."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

import botocore.session

from infra.graph import Node

OPERATIONS = {
    "aws:kms/alias:Alias": ("kms", "CreateAlias"),
    "aws:kms/key:Key": ("kms", "CreateKey"),
    "aws:kms/keyPolicy:KeyPolicy": ("kms", "PutKeyPolicy"),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": ("s3", "PutBucketLifecycleConfiguration"),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": ("s3", "PutBucketOwnershipControls"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": ("s3", "PutPublicAccessBlock"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "s3",
        "PutBucketEncryption",
    ),
}
# Their operations take a map of texts, or nothing worth checking; test_queues and test_storage hold their limits.
WITHOUT_MODEL = {
    "aws:s3/bucket:Bucket",
    "aws:s3/bucketPolicy:BucketPolicy",
    "aws:sqs/queue:Queue",
    "aws:sqs/queuePolicy:QueuePolicy",
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
}


def problems(node: Node) -> list[str]:
    if node.type not in OPERATIONS:
        return [] if node.type in WITHOUT_MODEL else [f"{node.type}: name its operation in aws_shapes"]
    service, operation = OPERATIONS[node.type]
    return list(_structure(_input(service, operation), node.inputs, node.name))


@cache
def _input(service: str, operation: str) -> Any:
    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


def _structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[str]:
    members = {_plain(name): member for name, member in shape.members.items()}
    wrapped = [member for member in shape.members.values() if member.type_name == "structure"]
    members = {_plain(name): m for outer in wrapped for name, m in outer.members.items()} | members
    for key, item in value.items():
        if _plain(key) in members:
            yield from _check(members[_plain(key)], item, f"{path}.{key}")


def _check(shape: Any, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "list":
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        for item in items:
            yield from _check(shape.member, item, path)
    elif shape.type_name == "structure":
        yield from _structure(shape, value, path)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{path}: {value!r} is not one of {shape.enum}"
    elif not isinstance(value, bool) and "${" not in str(value):
        size = len(value) if isinstance(value, str) else value
        low, high = shape.metadata.get("min", size), shape.metadata.get("max", size)
        if not low <= size <= high:
            yield f"{path}: {value!r} is not within {low} to {high}"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removesuffix("s")
