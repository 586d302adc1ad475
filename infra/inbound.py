"""Amazon SES for receiving: mail of some domains is put into a bucket, and a queue is told."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import dns_records, iam, names
from infra.dns_records import DnsRecord
from infra.iam import Statement, StatementFor
from infra.settings import SesSettings

RAW_PREFIX: Final = "raw/"


@dataclass(frozen=True, kw_only=True)
class InboundArgs:
    """What is received for, the bucket and the queue it goes to, and the zone of the stack."""

    settings: SesSettings
    """With one inbound domain at least."""
    region: str
    zone: str
    zone_id: Input[str]
    bucket_name: Input[str]
    bucket_arn: Output[str]
    bucket_key_arn: Input[str] | None = None
    """The key that the bucket encrypts with by default."""
    queue_arn: Output[str]
    needs: Sequence[pulumi.Resource] = ()
    """The queue and its policy: S3 tries the queue when the notification is made."""
    require_tls: bool = False
    """Refuse senders that do not encrypt; many on the internet do not."""


class Inbound(pulumi.ComponentResource):
    """Declares MX records, the receipt rules, SES's role for the bucket, and the notification.

    Bucket, queues and identities are others' (`queue_statement` says what the queue's policy needs). The rule set is
    made the active one only where the stack owns what exists once in an account and region.
    """

    rule_set: Output[str]
    records: Output[list[Mapping[str, str]]]
    """DNS records of domains outside the stack's zone, to be created by whoever runs them."""

    def __init__(self, name: str, args: InboundArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:inbound:Inbound", name, None, opts)
        child = ResourceOptions(parent=self)

        ours, others = dns_records.split(list(mx_records(args.settings, args.region)), args.zone)
        dns_records.declare(name, ours, args.zone_id, child)
        rules = aws.ses.ReceiptRuleSet(name, rule_set_name=rule_set_name(name), opts=child)
        role, permission = self._role(name, args, child)
        notification = aws.s3.BucketNotification(
            name,
            bucket=args.bucket_name,
            queues=[{"queue_arn": args.queue_arn, "events": ["s3:ObjectCreated:*"], "filter_prefix": RAW_PREFIX}],
            opts=ResourceOptions.merge(child, ResourceOptions(depends_on=list(args.needs))),
        )
        # SES stores a message to try the rule when it is made, so the role has to be complete by then.
        self._rules(
            name,
            args,
            rules,
            role,
            ResourceOptions.merge(child, ResourceOptions(depends_on=[permission, notification])),
        )
        if args.settings.singletons:
            aws.ses.ActiveReceiptRuleSet(name, rule_set_name=rules.rule_set_name, opts=child)

        self.rule_set = rules.rule_set_name
        self.records = dns_records.told(others)
        self.register_outputs({"rule_set": self.rule_set, "records": self.records})

    @staticmethod
    def _rules(
        name: str, args: InboundArgs, rules: aws.ses.ReceiptRuleSet, role: aws.iam.Role, opts: ResourceOptions
    ) -> None:
        before: aws.ses.ReceiptRule | None = None
        for domain in args.settings.inbound_domains:
            before = aws.ses.ReceiptRule(
                f"{name}-{domain}",
                name=names.exact(domain.replace(".", "-"), names.RECEIPT_RULE_LIMIT),
                rule_set_name=rules.rule_set_name,
                # One after the other: SES changes a rule set as a whole.
                after=None if before is None else before.name,
                recipients=[domain],
                enabled=True,
                scan_enabled=True,
                tls_policy="Require" if args.require_tls else "Optional",
                s3_actions=[
                    # Never kms_key_arn: SES would encrypt by itself, for a client that exists in Java and Ruby only.
                    {
                        "position": 1,
                        "bucket_name": args.bucket_name,
                        "object_key_prefix": RAW_PREFIX,
                        "iam_role_arn": role.arn,
                    }
                ],
                opts=opts,
            )

    @staticmethod
    def _role(name: str, args: InboundArgs, opts: ResourceOptions) -> tuple[aws.iam.Role, aws.iam.RolePolicy]:
        rules = f"receipt-rule-set/{rule_set_name(name)}:receipt-rule/*"
        trust = iam.trust("ses.amazonaws.com", args.queue_arn, [iam.beside(args.queue_arn, "ses", rules)])
        role = aws.iam.Role(names.fit(name, names.ROLE_LIMIT), assume_role_policy=trust, opts=opts)
        permission = aws.iam.RolePolicy(
            name, role=role.name, policy=iam.document(*storing(args.bucket_arn, args.bucket_key_arn)), opts=opts
        )
        return role, permission


def rule_set_name(name: str) -> str:
    """Returns the name of the rule set of the component of that name: the role's trust has to know it."""
    return names.exact(name, names.RECEIPT_RULE_LIMIT)


def storing(bucket_arn: Output[str], key_arn: Input[str] | None) -> Iterator[Statement]:
    """Yields what SES's role may do: put raw mail, and have S3 encrypt it with the bucket's key."""
    yield iam.allow(["s3:PutObject"], [Output.concat(bucket_arn, f"/{RAW_PREFIX}*")])
    if key_arn is not None:
        # S3 has to read back the parts of a large object.
        yield iam.allow(["kms:Decrypt", "kms:GenerateDataKey"], [key_arn])


def queue_statement(bucket_arn: Input[str]) -> StatementFor:
    """Returns what the policy of the inbound queue has to say so that S3 can tell it of new mail.

    A queue with a KMS key needs more: the key's policy has to let s3.amazonaws.com use it.
    """
    return iam.service_may("s3.amazonaws.com", ["sqs:SendMessage"], sid="NewMail", source_arn=bucket_arn)


def mx_records(settings: SesSettings, region: str) -> Iterator[DnsRecord]:
    """Yields the records that lead mail of the domains to SES."""
    for domain in settings.inbound_domains:
        yield DnsRecord(
            domain=domain, role="mx", name=domain, type="MX", value=f"10 inbound-smtp.{region}.amazonaws.com"
        )
