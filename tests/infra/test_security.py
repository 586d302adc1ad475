import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.graph import Graph
from tests.infra import security

Check = Callable[[Graph], list[str]]


@pytest.mark.parametrize("check", security.ALL, ids=lambda check: check.__name__)
def test_nothing_is_weak(stack: Graph, check: Check) -> None:
    assert check(stack) == []


QUEUE = ("aws:sqs/queue:Queue", "delivery")
DEAD = ("aws:sqs/queue:Queue", "delivery-dead")
QUEUE_POLICY = ("aws:sqs/queuePolicy:QueuePolicy", "delivery-dead")
ALLOW = ("aws:sqs/redriveAllowPolicy:RedriveAllowPolicy", "delivery")
BUCKET_POLICY = ("aws:s3/bucketPolicy:BucketPolicy", "bodies")
BLOCK = ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "bodies")
OWNER = ("aws:s3/bucketOwnershipControls:BucketOwnershipControls", "bodies")
ENCRYPTION = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "bodies",
)
KEY = ("aws:kms/key:Key", "mail")
KEY_POLICY = ("aws:kms/keyPolicy:KeyPolicy", "secrets")
EVERYONE = {"Sid": "Use", "Effect": "Allow", "Principal": "*", "Action": ["kms:Decrypt"], "Resource": "*"}


@pytest.mark.parametrize(
    ("check", "place", "change"),
    [
        (security.plaintext_queues, QUEUE_POLICY, {"policy": json.dumps({"Statement": []})}),
        (security.plaintext_buckets, BUCKET_POLICY, {"policy": json.dumps({"Statement": []})}),
        (security.unencrypted_queues, QUEUE, {"kmsMasterKeyId": None}),
        (security.unencrypted_queues, DEAD, {"kmsMasterKeyId": None, "sqsManagedSseEnabled": False}),
        (security.unencrypted_buckets, ENCRYPTION, {"bucket": "another"}),
        (security.public_buckets, BLOCK, {"blockPublicAcls": False}),
        (security.public_buckets, BLOCK, {"restrictPublicBuckets": False}),
        (security.buckets_with_acls, OWNER, {"rule": {"objectOwnership": "ObjectWriter"}}),
        (security.keys_that_never_rotate, KEY, {"enableKeyRotation": False}),
        (security.strangers_at_keys, KEY_POLICY, {"policy": json.dumps({"Statement": [EVERYONE]})}),
        (security.queues_that_lose, QUEUE, {"redrivePolicy": "{}"}),
        (
            security.queues_that_lose,
            ALLOW,
            {"redriveAllowPolicy": '{"redrivePermission": "denyAll", "sourceQueueArns": []}'},
        ),
    ],
)
def test_a_weakness_is_noticed(prod: Graph, check: Check, place: tuple[str, str], change: dict[str, Any]) -> None:
    weak = prod.one(place[0], f"smtp-proxy-prod-{place[1]}")
    nodes = [replace(node, inputs={**node.inputs, **change}) if node is weak else node for node in prod.nodes]
    assert check(replace(prod, nodes=tuple(nodes))) != []


def test_the_mail_key_works_only_through_the_queue_and_the_bucket(prod: Graph) -> None:
    policy = prod.one("aws:kms/keyPolicy:KeyPolicy", "smtp-proxy-prod-mail")
    (use,) = [statement for statement in security.statements(policy) if "kms:Decrypt" in statement["Action"]]
    services = ["sqs.us-east-1.amazonaws.com", "s3.us-east-1.amazonaws.com"]
    assert use["Condition"] == {"StringEquals": {"kms:ViaService": services}}
