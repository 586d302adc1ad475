import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
BODY = """
from infra import iam
from infra.storage import Bucket, BucketArgs
ses = iam.service_may(
    "ses.amazonaws.com", ["s3:PutObject"], sid="Ses", account_id="123456789012",
    source_arn="arn:aws:ses:us-east-1:123456789012:receipt-rule-set/in:*", below="/raw/*",
)
balancer = iam.service_may(
    "logdelivery.elasticloadbalancing.amazonaws.com", ["s3:PutObject"], sid="Balancer", account_id="123456789012",
    below="/web/AWSLogs/123456789012/*",
)
Bucket("mail", BucketArgs(prefix_days={"bodies/": 30, "attachments/": 30, "raw/": 7}, statements=[ses, balancer]), opts)
from infra.storage import request_logs
logs = Bucket("logs", BucketArgs(expiry_days=30, statements=[request_logs("123456789012", "prod-*")]), opts)
certificates = BucketArgs(old_version_days=90, key_arn="arn:aws:kms:us-east-1:1:key/data", logs=logs)
Bucket("certificates", certificates, opts)
"""


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("buckets"), BODY)


def test_the_contract(buckets: Graph) -> None:
    assert [problem for check in (*contract.ALL, contract.weak) for problem in check(buckets)] == []


@pytest.mark.requirement("FLOW-INFRA-001")
def test_each_prefix_has_an_end_of_its_own_and_the_archive_has_none(buckets: Graph) -> None:
    assert buckets.one(LIFECYCLE, "mail").inputs["rules"] == [
        {
            "id": "expire-bodies",
            "status": "Enabled",
            "filter": {"prefix": "bodies/"},
            "expiration": {"days": 30},
        },
        {
            "id": "expire-attachments",
            "status": "Enabled",
            "filter": {"prefix": "attachments/"},
            "expiration": {"days": 30},
        },
        {"id": "expire-raw", "status": "Enabled", "filter": {"prefix": "raw/"}, "expiration": {"days": 7}},
        {
            "id": "abandoned-uploads",
            "status": "Enabled",
            "filter": {"prefix": ""},
            "abortIncompleteMultipartUpload": {"daysAfterInitiation": 1},
        },
    ]
    assert [node.name for node in buckets.of_type(VERSIONING)] == ["certificates"]


def test_versions_are_kept_where_asked_and_not_for_ever(buckets: Graph) -> None:
    versioning = buckets.one(VERSIONING, "certificates")
    assert versioning.inputs == {
        "bucket": "${certificates.bucket}",
        "versioningConfiguration": {"status": "Enabled"},
    }
    lifecycle = buckets.one(LIFECYCLE, "certificates")
    assert versioning.urn in lifecycle.depends_on
    assert lifecycle.inputs["rules"][0] == {
        "id": "old-versions",
        "status": "Enabled",
        "filter": {"prefix": ""},
        "noncurrentVersionExpiration": {"noncurrentDays": 90},
    }
    assert [rule["id"] for rule in lifecycle.inputs["rules"]] == ["old-versions", "abandoned-uploads"]


@pytest.mark.requirement("FLOW-INFRA-001")
def test_services_come_only_for_this_account(buckets: Graph) -> None:
    policy = buckets.one("aws:s3/bucketPolicy:BucketPolicy", "mail")
    *others, _ = json.loads(policy.inputs["policy"])["Statement"]
    common = {"Effect": "Allow", "Action": ["s3:PutObject"]}
    bucket = "arn:aws:s3:::${mail.arn}"
    assert others == [
        {
            "Sid": "Ses",
            **common,
            "Principal": {"Service": "ses.amazonaws.com"},
            "Resource": f"{bucket}/raw/*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:ses:us-east-1:123456789012:receipt-rule-set/in:*"},
            },
        },
        {
            "Sid": "Balancer",
            **common,
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Resource": f"{bucket}/web/AWSLogs/123456789012/*",
            "Condition": {"StringEquals": {"aws:SourceAccount": "123456789012"}},
        },
    ]


def test_s3_writes_down_who_asked_for_what(buckets: Graph) -> None:
    (logging,) = buckets.of_type("aws:s3/bucketLogging:BucketLogging")
    assert logging.inputs == {
        "bucket": "${certificates.bucket}",
        "targetBucket": "${logs.bucket}",
        "targetPrefix": "s3/",
    }
    policy = json.loads(buckets.one("aws:s3/bucketPolicy:BucketPolicy", "logs").inputs["policy"])
    assert policy["Statement"][:-1] == [
        {
            "Sid": "RequestLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": ["s3:PutObject"],
            "Resource": "arn:aws:s3:::${logs.arn}/s3/*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "123456789012"},
                "ArnLike": {"aws:SourceArn": "arn:aws:s3:::prod-*"},
            },
        }
    ]
