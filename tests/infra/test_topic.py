import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-alarms"
TOPIC = f"arn:aws:sns:${{region}}:${{account}}:${{{NAME}.arn}}"
SERVICES = ["budgets.amazonaws.com", "cloudwatch.amazonaws.com", "events.amazonaws.com"]
BODY = """
from infra.keys import Key, KeyArgs
from infra.topic import Topic, TopicArgs, key_statement

args = KeyArgs(description="Alarms", deletion_days=30, statements=[key_statement("smtp-proxy-prod-alarms")])
key = Key("smtp-proxy-prod-alarms", args, opts)
topic = Topic("smtp-proxy-prod-alarms", TopicArgs(emails=settings.watch.emails, key_arn=key.arn), opts)
pulumi.export("arn", topic.arn)
"""


@pytest.fixture(scope="module")
def topic(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("topic"), BODY, {"alarmEmails": ["a@example.com", "b@example.com"]})


def test_it_keeps_the_contract(topic: Graph) -> None:
    assert {check.__name__: check(topic) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


def test_the_topic_is_encrypted_with_the_key_it_is_given(topic: Graph) -> None:
    (node,) = topic.of_type("aws:sns/topic:Topic")
    assert node.inputs == {
        "name": NAME,
        "kmsMasterKeyId": f"arn:aws:kms:${{region}}:${{account}}:${{{NAME}.arn}}",
    }
    assert topic.exports["arn"] == TOPIC


def test_services_publish_for_this_account_and_over_tls_only(topic: Graph) -> None:
    (policy,) = topic.of_type("aws:sns/topicPolicy:TopicPolicy")
    assert policy.inputs["arn"] == TOPIC
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {
            "Sid": "Publish",
            "Effect": "Allow",
            "Principal": {"Service": SERVICES},
            "Action": "sns:Publish",
            "Resource": TOPIC,
            "Condition": {"StringEquals": {"aws:SourceAccount": "${account}"}},
        },
        {
            "Sid": "RefusePlaintext",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sns:Publish",
            "Resource": [TOPIC],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ]


def test_the_key_serves_those_services_for_that_topic_only(topic: Graph) -> None:
    (node,) = topic.of_type("aws:sns/topic:Topic")
    policy = topic.one("aws:kms/keyPolicy:KeyPolicy", NAME)
    [statement] = [each for each in json.loads(policy.inputs["policy"])["Statement"] if "Service" in each["Principal"]]
    assert statement == {
        "Sid": "Alarms",
        "Effect": "Allow",
        "Principal": {"Service": SERVICES},
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                "kms:EncryptionContext:aws:sns:topicArn": f"arn:aws:sns:${{region}}:${{account}}:{node.inputs['name']}"
            }
        },
    }


def test_each_address_is_subscribed(topic: Graph) -> None:
    assert [node.inputs for node in topic.of_type("aws:sns/topicSubscription:TopicSubscription")] == [
        {"topic": TOPIC, "protocol": "email", "endpoint": address} for address in ("a@example.com", "b@example.com")
    ]
