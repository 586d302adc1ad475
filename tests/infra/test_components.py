import json

import pytest

from infra import graph
from infra.graph import Graph
from infra.names import fit

MAIL_KEY = "arn:aws:kms:${region}:${account}:${smtp-proxy-prod-mail.arn}"
DELIVERY = "arn:aws:sqs:${region}:${account}:${smtp-proxy-prod-delivery.arn}"
DEAD = "arn:aws:sqs:${region}:${account}:${smtp-proxy-prod-delivery-dead.arn}"


def test_the_delivery_queue(prod: Graph) -> None:
    queue = prod.one("aws:sqs/queue:Queue", "smtp-proxy-prod-delivery")
    assert {**queue.inputs, "redrivePolicy": json.loads(queue.inputs["redrivePolicy"])} == {
        "visibilityTimeoutSeconds": 120,
        "messageRetentionSeconds": 1_209_600,
        "maxMessageSize": 1_048_576,
        "receiveWaitTimeSeconds": 20,
        "kmsMasterKeyId": MAIL_KEY,
        "redrivePolicy": {"deadLetterTargetArn": DEAD, "maxReceiveCount": 5},
    }


def test_the_dead_letter_queue(prod: Graph) -> None:
    queue = prod.one("aws:sqs/queue:Queue", "smtp-proxy-prod-delivery-dead")
    assert queue.inputs["messageRetentionSeconds"] == 1_209_600
    assert "redrivePolicy" not in queue.inputs
    allow = prod.one("aws:sqs/redriveAllowPolicy:RedriveAllowPolicy", "smtp-proxy-prod-delivery")
    assert allow.inputs["queueUrl"] == "${smtp-proxy-prod-delivery-dead.url}"
    assert json.loads(allow.inputs["redriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [DELIVERY],
    }


def test_without_a_key_of_its_own_the_stack_uses_those_of_sqs_and_s3(stack: Graph) -> None:
    keyed = stack.stack == "prod"
    queue = stack.one("aws:sqs/queue:Queue", f"smtp-proxy-{stack.stack}-delivery")
    assert queue.inputs.get("sqsManagedSseEnabled") is (None if keyed else True)
    (encryption,) = stack.of_type(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    )
    own = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": MAIL_KEY}
    assert encryption.inputs["rules"] == [
        {"applyServerSideEncryptionByDefault": own if keyed else {"sseAlgorithm": "AES256"}, "bucketKeyEnabled": keyed}
    ]


def test_bodies_expire_and_leave_no_versions(prod: Graph) -> None:
    (lifecycle,) = prod.of_type("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    assert lifecycle.inputs["rules"] == [
        {"id": "expire", "status": "Enabled", "filter": {"prefix": ""}, "expiration": {"days": 30}},
        {
            "id": "abandoned-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
        },
    ]
    assert [node.urn for node in prod.nodes if "Versioning" in node.type] == []


def test_only_an_unprotected_bucket_is_emptied_when_the_stack_is_destroyed(stack: Graph) -> None:
    (bucket,) = stack.of_type("aws:s3/bucket:Bucket")
    assert bucket.inputs["forceDestroy"] is not bucket.protect


def test_s3_is_never_asked_to_change_two_protections_at_once(prod: Graph) -> None:
    (policy,) = prod.of_type("aws:s3/bucketPolicy:BucketPolicy")
    (owner,) = prod.of_type("aws:s3/bucketOwnershipControls:BucketOwnershipControls")
    (block,) = prod.of_type("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
    assert owner.urn in policy.depends_on
    assert block.urn in owner.depends_on


def test_the_key_is_reached_by_an_alias_once_its_policy_holds(prod: Graph) -> None:
    alias = prod.one("aws:kms/alias:Alias", "smtp-proxy-prod-secrets")
    assert alias.inputs == {"name": "alias/smtp-proxy-prod-secrets", "targetKeyId": "${smtp-proxy-prod-secrets.key_id}"}
    assert prod.one("aws:kms/keyPolicy:KeyPolicy", "smtp-proxy-prod-secrets").urn in alias.depends_on


def test_exports(stack: Graph) -> None:
    prefix = f"smtp-proxy-{stack.stack}"
    assert stack.exports == {
        "delivery_queue_url": f"${{{prefix}-delivery.url}}",
        "delivery_dead_letter_queue_url": f"${{{prefix}-delivery-dead.url}}",
        "bodies_bucket": f"${{{prefix}-bodies.bucket}}",
        "secrets_key_alias": f"alias/{prefix}-secrets",
    }


def test_one_stack_leaves_nothing_in_the_next() -> None:
    prod, dev = graph.build("prod"), graph.build("dev")
    assert {node.urn.split(":")[2] for node in prod.nodes} == {"prod"}
    assert {node.urn.split(":")[2] for node in dev.nodes} == {"dev"}
    assert "prod" not in str(dev)


@pytest.mark.parametrize(
    ("name", "limit", "fitted"),
    [
        ("smtp-proxy-prod-relay", 32, "smtp-proxy-prod-relay"),
        ("a" * 24, 32, "a" * 24),
        ("a" * 25, 32, "aaaaaaaaaaaaaaaaa-2f521e"),
        ("smtp-proxy-dev-relay-tls", 31, "smtp-proxy-dev-r-822ab0"),
    ],
)
def test_a_name_leaves_room_for_pulumis_suffix(name: str, limit: int, fitted: str) -> None:
    assert fit(name, limit) == fitted


def test_names_that_are_cut_stay_different() -> None:
    assert fit("a" * 40 + "x", 32) != fit("a" * 40 + "y", 32)
