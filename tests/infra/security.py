"""What no change may weaken. Each check returns the offenders."""

import json
from collections.abc import Mapping
from typing import Any

from infra.graph import Graph, Node

_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
_S3 = "aws:s3/bucket"


def plaintext_queues(graph: Graph) -> list[str]:
    guarded = _guarded(graph.of_type("aws:sqs/queuePolicy:QueuePolicy"), "sqs:*")
    return [node.urn for node in graph.of_type("aws:sqs/queue:Queue") if not guarded & _arns("sqs", node)]


def plaintext_buckets(graph: Graph) -> list[str]:
    guarded = _guarded(graph.of_type(f"{_S3}Policy:BucketPolicy"), "s3:*")
    return [
        node.urn
        for node in graph.of_type(f"{_S3}:Bucket")
        if not {arn for own in _arns("s3", node) for arn in (own, f"{own}/*")} <= guarded
    ]


def unencrypted_queues(graph: Graph) -> list[str]:
    return [
        node.urn
        for node in graph.of_type("aws:sqs/queue:Queue")
        if not (node.inputs.get("kmsMasterKeyId") or node.inputs.get("sqsManagedSseEnabled") is True)
    ]


def unencrypted_buckets(graph: Graph) -> list[str]:
    kind = f"{_S3}ServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    encrypted = {node.inputs["bucket"] for node in graph.of_type(kind) if _encrypts(node)}
    return [node.urn for node in graph.of_type(f"{_S3}:Bucket") if f"${{{node.name}.bucket}}" not in encrypted]


def public_buckets(graph: Graph) -> list[str]:
    blocks = graph.of_type(f"{_S3}PublicAccessBlock:BucketPublicAccessBlock")
    closed = {node.inputs["bucket"] for node in blocks if all(node.inputs.get(key) is True for key in _BLOCKS)}
    return [node.urn for node in graph.of_type(f"{_S3}:Bucket") if f"${{{node.name}.bucket}}" not in closed]


def buckets_with_acls(graph: Graph) -> list[str]:
    controls = graph.of_type(f"{_S3}OwnershipControls:BucketOwnershipControls")
    enforced = {
        node.inputs["bucket"] for node in controls if node.inputs["rule"]["objectOwnership"] == "BucketOwnerEnforced"
    }
    return [node.urn for node in graph.of_type(f"{_S3}:Bucket") if f"${{{node.name}.bucket}}" not in enforced]


def keys_that_never_rotate(graph: Graph) -> list[str]:
    return [node.urn for node in graph.of_type("aws:kms/key:Key") if node.inputs.get("enableKeyRotation") is not True]


def strangers_at_keys(graph: Graph) -> list[str]:
    own = {"AWS": "arn:aws:iam::${account}:root"}
    return [
        node.urn
        for node in graph.of_type("aws:kms/keyPolicy:KeyPolicy")
        for statement in statements(node)
        if statement["Principal"] != own or statement["Effect"] != "Allow" or "kms:CreateGrant" in statement["Action"]
    ]


def queues_that_lose(graph: Graph) -> list[str]:
    """A queue must name a dead-letter queue of the stack that lets it in, or be one."""
    open_to = {
        (node.inputs["queueUrl"], source)
        for node in graph.of_type("aws:sqs/redriveAllowPolicy:RedriveAllowPolicy")
        for source in json.loads(node.inputs["redriveAllowPolicy"])["sourceQueueArns"]
        if json.loads(node.inputs["redriveAllowPolicy"])["redrivePermission"] == "byQueue"
    }
    queues = graph.of_type("aws:sqs/queue:Queue")
    targets = {arn: node for node in queues for arn in _arns("sqs", node)}
    lost: list[str] = []
    for node in queues:
        if any(url == f"${{{node.name}.url}}" for url, _ in open_to):
            continue
        redrive = json.loads(node.inputs.get("redrivePolicy", "{}"))
        target = targets.get(redrive.get("deadLetterTargetArn"))
        (own,) = _arns("sqs", node)
        if target is None or (f"${{{target.name}.url}}", own) not in open_to:
            lost.append(node.urn)
    return lost


def statements(node: Node) -> list[Mapping[str, Any]]:
    return json.loads(node.inputs["policy"])["Statement"]


def _guarded(policies: list[Node], action: str) -> set[str]:
    return {
        resource
        for node in policies
        for statement in statements(node)
        if statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Action"] == action
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for resource in statement["Resource"]
    }


def _encrypts(node: Node) -> bool:
    (rule,) = node.inputs["rules"]
    default = rule["applyServerSideEncryptionByDefault"]
    if default["sseAlgorithm"] == "aws:kms":
        return bool(default.get("kmsMasterKeyId")) and rule["bucketKeyEnabled"]
    return default["sseAlgorithm"] == "AES256"


def _arns(service: str, node: Node) -> set[str]:
    place = ":" if service == "s3" else "${region}:${account}"
    return {f"arn:aws:{service}:{place}:${{{node.name}.arn}}"}


ALL = [
    plaintext_queues,
    plaintext_buckets,
    unencrypted_queues,
    unencrypted_buckets,
    public_buckets,
    buckets_with_acls,
    keys_that_never_rotate,
    strangers_at_keys,
    queues_that_lose,
]
