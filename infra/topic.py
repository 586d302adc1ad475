"""Where alarms go, and from there to people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.iam import Statement, StatementFor

PUBLISHERS: Final = (
    "budgets.amazonaws.com",
    "cloudwatch.amazonaws.com",
    "events.amazonaws.com",
)


@dataclass(frozen=True, kw_only=True)
class TopicArgs:
    """Who gets mail, and the key. CloudWatch cannot publish to a topic with SNS's own key, so none means no key."""

    emails: Sequence[str]
    key_arn: Input[str] | None


class Topic(pulumi.ComponentResource):
    """Declares the topic of alarms, who may publish to it, and its subscriptions by mail, which people confirm.

    The key is another's; `key_statement` says what its policy needs.
    """

    arn: Output[str]

    def __init__(self, name: str, args: TopicArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:topic:Topic", name, None, opts)
        child = ResourceOptions(parent=self)

        topic = aws.sns.Topic(name, name=topic_name(name), kms_master_key_id=args.key_arn, opts=child)
        # It replaces SNS's default policy, which lets every identity of the account publish.
        policy = aws.sns.TopicPolicy(
            name,
            arn=topic.arn,
            policy=iam.document(publishing(topic.arn), iam.tls_only("sns:Publish", [topic.arn])),
            opts=child,
        )
        for email in args.emails:
            aws.sns.TopicSubscription(
                f"{name}-{email}",
                topic=topic.arn,
                protocol="email",
                endpoint=email,
                opts=ResourceOptions.merge(child, ResourceOptions(depends_on=[policy])),
            )

        self.arn = topic.arn
        self.register_outputs({"arn": self.arn})


def topic_name(name: str) -> str:
    """Returns the name of the topic of the component of that name: the key's policy has to know it."""
    return names.exact(name, names.TOPIC_LIMIT)


def publishing(topic_arn: Output[str]) -> Statement:
    """Returns the statement that lets AWS's services publish on behalf of this account."""
    return {
        "Sid": "Publish",
        "Effect": "Allow",
        "Principal": {"Service": list(PUBLISHERS)},
        "Action": "sns:Publish",
        "Resource": topic_arn,
        "Condition": {"StringEquals": {"aws:SourceAccount": iam.account(topic_arn)}},
    }


def key_statement(name: str) -> StatementFor:
    """Returns what the key's policy has to say so that AWS's services can publish to the topic of that component.

    The condition names the topic. SNS Developer Guide, "Managing Amazon SNS encryption keys": aws:SourceAccount and
    aws:SourceArn do not work in a key's policy for EventBridge, whose events would be dropped without a word.
    """

    def statement(key_arn: Output[str]) -> Statement:
        topic_arn = iam.beside(key_arn, "sns", topic_name(name))
        return {
            "Sid": "Alarms",
            "Effect": "Allow",
            "Principal": {"Service": list(PUBLISHERS)},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": topic_arn}},
        }

    return statement
