import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-inbound"
QUEUE = f"arn:aws:sqs:${{region}}:${{account}}:${{{NAME}.arn}}"
BUCKET = "arn:aws:s3:::${smtp-proxy-prod-raw.arn}"
KEY = "arn:aws:kms:${region}:${account}:${smtp-proxy-prod-raw.arn}"
ROLE = f"arn:aws:iam::${{account}}:${{{NAME}.arn}}"
BODY = """
from infra.inbound import Inbound, InboundArgs, queue_statement
from infra.keys import Key, KeyArgs
from infra.queues import Queue, QueueArgs
from infra.storage import Bucket, BucketArgs

key = Key("smtp-proxy-prod-raw", KeyArgs(description="Mail", deletion_days=30), opts)
raw = Bucket("smtp-proxy-prod-raw", BucketArgs(expiry_days=7, key_arn=key.arn), opts)
args = QueueArgs(visibility_seconds=120, retention_days=14, max_receives=5, statements=[queue_statement(raw.arn)])
queue = Queue("smtp-proxy-prod-inbound", args, opts)
inbound = Inbound(
    "smtp-proxy-prod-inbound",
    InboundArgs(
        settings=settings.ses,
        region=settings.region,
        zone=settings.names.zone,
        zone_id="Z1",
        bucket_name=raw.name,
        bucket_arn=raw.arn,
        bucket_key_arn=key.arn if settings.customer_key else None,
        queue_arn=queue.arn,
        needs=[queue],
        require_tls=not settings.customer_key,
    ),
    opts,
)
pulumi.export("records", inbound.records)
"""
DOMAINS = {"inboundDomains": ["in.mail.example.com", "other.example"]}


@pytest.fixture(scope="module")
def inbound(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("inbound"), BODY, DOMAINS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("inbound"), BODY, {**DOMAINS, "customerKey": False})


def test_it_keeps_the_contract(inbound: Graph) -> None:
    assert {check.__name__: check(inbound) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


@pytest.mark.requirement("FLOW-INFRA-004")
def test_each_domain_has_a_rule_that_stores_scanned_mail(inbound: Graph) -> None:
    rules = inbound.of_type("aws:ses/receiptRule:ReceiptRule")
    common = {
        "ruleSetName": NAME,
        "enabled": True,
        "scanEnabled": True,
        "tlsPolicy": "Optional",
        # Whole values: a kms_key_arn here would make mail unreadable.
        "s3Actions": [
            {
                "position": 1,
                "bucketName": "${smtp-proxy-prod-raw.bucket}",
                "objectKeyPrefix": "raw/",
                "iamRoleArn": ROLE,
            }
        ],
    }
    assert [rule.inputs for rule in rules] == [
        {**common, "name": "in-mail-example-com", "recipients": ["in.mail.example.com"]},
        {**common, "name": "other-example", "recipients": ["other.example"], "after": "in-mail-example-com"},
    ]


def test_senders_may_have_to_encrypt(plain: Graph) -> None:
    assert {rule.inputs["tlsPolicy"] for rule in plain.of_type("aws:ses/receiptRule:ReceiptRule")} == {"Require"}


def test_a_rule_waits_until_its_role_may_store_and_the_queue_is_told(inbound: Graph) -> None:
    (permission,) = inbound.of_type("aws:iam/rolePolicy:RolePolicy")
    (notification,) = inbound.of_type("aws:s3/bucketNotification:BucketNotification")
    policies = [n for n in inbound.of_type("aws:sqs/queuePolicy:QueuePolicy") if n.name == NAME]
    assert len(policies) == 1
    assert policies[0].urn in notification.depends_on
    for rule in inbound.of_type("aws:ses/receiptRule:ReceiptRule"):
        assert {permission.urn, notification.urn} <= set(rule.depends_on)


def test_only_ses_for_these_rules_takes_the_role(inbound: Graph) -> None:
    role = inbound.one("aws:iam/role:Role", NAME)
    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ses.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "${account}"},
                "ArnLike": {
                    "aws:SourceArn": [f"arn:aws:ses:${{region}}:${{account}}:receipt-rule-set/{NAME}:receipt-rule/*"]
                },
            },
        }
    ]


def test_the_role_may_only_store_raw_mail(inbound: Graph, plain: Graph) -> None:
    store = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": [f"{BUCKET}/raw/*"]}
    encrypt = {"Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": [KEY]}
    granted = [
        json.loads(graph.one("aws:iam/rolePolicy:RolePolicy", NAME).inputs["policy"])["Statement"]
        for graph in (inbound, plain)
    ]
    assert granted == [[store, encrypt], [store]]


def test_the_queue_is_told_of_raw_mail_only(inbound: Graph) -> None:
    (notification,) = inbound.of_type("aws:s3/bucketNotification:BucketNotification")
    assert notification.inputs == {
        "bucket": "${smtp-proxy-prod-raw.bucket}",
        "queues": [{"queueArn": QUEUE, "events": ["s3:ObjectCreated:*"], "filterPrefix": "raw/"}],
    }


def test_only_that_bucket_may_fill_the_queue(inbound: Graph) -> None:
    policy = inbound.one("aws:sqs/queuePolicy:QueuePolicy", NAME)
    [statement] = [each for each in json.loads(policy.inputs["policy"])["Statement"] if each["Effect"] == "Allow"]
    assert statement == {
        "Sid": "NewMail",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": ["sqs:SendMessage"],
        "Resource": QUEUE,
        "Condition": {"StringEquals": {"aws:SourceAccount": "${account}"}, "ArnLike": {"aws:SourceArn": BUCKET}},
    }


def test_mail_is_led_to_ses(inbound: Graph) -> None:
    (record,) = inbound.of_type("aws:route53/record:Record")
    assert record.inputs == {
        "zoneId": "Z1",
        "name": "in.mail.example.com",
        "type": "MX",
        "ttl": 600,
        "records": ["10 inbound-smtp.us-east-1.amazonaws.com"],
    }
    assert inbound.exports["records"] == [
        {"name": "other.example", "type": "MX", "value": "10 inbound-smtp.us-east-1.amazonaws.com"}
    ]


SHARED = BODY.replace("settings.ses,", "dataclasses.replace(settings.ses, singletons=False),")


def test_only_the_stack_that_owns_the_account_makes_its_rules_the_active_ones(
    inbound: Graph, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = declare(tmp_path_factory.mktemp("inbound"), "import dataclasses\n" + SHARED, DOMAINS)
    active = "aws:ses/activeReceiptRuleSet:ActiveReceiptRuleSet"
    assert [node.inputs for node in inbound.of_type(active)] == [{"ruleSetName": NAME}]
    assert shared.of_type(active) == []
    assert len(shared.of_type("aws:ses/receiptRule:ReceiptRule")) == 2
