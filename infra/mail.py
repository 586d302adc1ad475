"""Amazon SES for sending: who may send, how strictly, and where it tells what became of the mail."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import dns_records, iam, names
from infra.dns_records import DnsRecord, within
from infra.iam import Statement, StatementFor
from infra.settings import SesSettings

# All that tell something of a message's fate. OPEN and CLICK would have SES rewrite the body, SUBSCRIPTION the headers.
EVENTS: Final = ("BOUNCE", "COMPLAINT", "DELIVERY", "DELIVERY_DELAY", "REJECT", "RENDERING_FAILURE", "SEND")
# AWS General Reference, "Amazon SES endpoints and quotas", DKIM domains: regions with a domain of their own.
_OWN_DKIM_DOMAIN: Final = frozenset(
    {
        "af-south-1",
        "ap-northeast-3",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-5",
        "ca-west-1",
        "eu-central-2",
        "eu-south-1",
        "il-central-1",
        "me-central-1",
        "us-gov-east-1",
    }
)
_DKIM_TOKENS: Final = 3
_MAIL_FROM: Final = "bounce"


@dataclass(frozen=True, kw_only=True)
class MailArgs:
    """What SES sends for, the zone of the stack, and the queue that events go to."""

    settings: SesSettings
    region: str
    zone: str
    zone_id: Input[str]
    events_queue_arn: Input[str]


class Mail(pulumi.ComponentResource):
    """Declares SES identities with their DNS records, the configuration set and the way of its events to a queue.

    It declares neither the queue nor its policy (`events_statement` says what that needs), and nothing that exists
    once in an account, such as the account's own suppression list.

    SES hands events to EventBridge, whose rule hands them to the queue. AWS does not charge for events of its own
    services on the default bus, and SNS charges for every one.
    """

    configuration_set: Output[str]
    """What an SES provider names as its configuration set."""
    configuration_set_arn: Output[str]
    identity_arns: Mapping[str, Output[str]]
    """By domain: a role may send from these."""
    records: Output[list[Mapping[str, str]]]
    """DNS records of domains outside the stack's zone, to be created by whoever runs them."""

    def __init__(self, name: str, args: MailArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:mail:Mail", name, None, opts)
        child = ResourceOptions(parent=self)

        configured = self._configuration_set(name, child)
        identities = {domain: self._identity(name, domain, configured, child) for domain in identified(args.settings)}
        records = [
            record for domain, identity in identities.items() for record in dkim_records(domain, identity, args.region)
        ]
        for domain in args.settings.domains:
            aws.sesv2.EmailIdentityMailFromAttributes(
                f"{name}-{domain}",
                email_identity=identities[domain].email_identity,
                mail_from_domain=f"{_MAIL_FROM}.{domain}",
                # Mail of a domain whose MX record is missing goes out under SES's name instead of not at all.
                behavior_on_mx_failure="USE_DEFAULT_VALUE",
                opts=child,
            )
            records += mail_from_records(domain, args.region)
        ours, others = dns_records.split(records, args.zone)
        dns_records.declare(name, ours, args.zone_id, child)
        self._events(name, args, configured, child)

        self.configuration_set, self.configuration_set_arn = configured.configuration_set_name, configured.arn
        self.identity_arns = {domain: identity.arn for domain, identity in identities.items()}
        self.records = dns_records.told(others)
        self.register_outputs({"configuration_set": self.configuration_set, "records": self.records})

    @staticmethod
    def _configuration_set(name: str, opts: ResourceOptions) -> aws.sesv2.ConfigurationSet:
        return aws.sesv2.ConfigurationSet(
            name,
            # Providers name it, and events carry it.
            configuration_set_name=names.exact(name, names.CONFIGURATION_SET_LIMIT),
            delivery_options={"tls_policy": "REQUIRE"},
            reputation_options={"reputation_metrics_enabled": True},
            sending_options={"sending_enabled": True},
            suppression_options={"suppressed_reasons": ["BOUNCE", "COMPLAINT"]},
            opts=opts,
        )

    @staticmethod
    def _identity(
        name: str, domain: str, configured: aws.sesv2.ConfigurationSet, opts: ResourceOptions
    ) -> aws.sesv2.EmailIdentity:
        return aws.sesv2.EmailIdentity(
            f"{name}-{domain}",
            email_identity=domain,
            # Whoever sends without naming a set is counted all the same.
            configuration_set_name=configured.configuration_set_name,
            dkim_signing_attributes={"next_signing_key_length": "RSA_2048_BIT"},
            opts=opts,
        )

    @staticmethod
    def _events(name: str, args: MailArgs, configured: aws.sesv2.ConfigurationSet, opts: ResourceOptions) -> None:
        aws.sesv2.ConfigurationSetEventDestination(
            name,
            configuration_set_name=configured.configuration_set_name,
            event_destination_name="events",
            event_destination={
                "enabled": True,
                "matching_event_types": list(EVENTS),
                "event_bridge_destination": {
                    # SES: "Only the default bus is supported".
                    "event_bus_arn": iam.beside(configured.arn, "events", "event-bus/default")
                },
            },
            opts=opts,
        )
        rule = aws.cloudwatch.EventRule(
            name,
            name=rule_name(name),
            description="What became of mail that SES sent",
            # Other stacks of the account share the bus.
            event_pattern=Output.json_dumps(
                {
                    "source": ["aws.ses"],
                    "detail": {"mail": {"tags": {"ses:configuration-set": [configured.configuration_set_name]}}},
                }
            ),
            opts=opts,
        )
        aws.cloudwatch.EventTarget(name, rule=rule.name, arn=args.events_queue_arn, opts=opts)


def identified(settings: SesSettings) -> Sequence[str]:
    """Returns the domains that need an identity: those sent for, and those received for that are below none of them."""
    receiving = [
        domain
        for domain in settings.inbound_domains
        if not any(within(domain, sending) for sending in settings.domains)
    ]
    return (*settings.domains, *receiving)


def rule_name(name: str) -> str:
    """Returns the name of the event rule of the component of that name: the queue's policy has to know it."""
    return names.exact(name, names.EVENT_RULE_LIMIT)


def events_statement(name: str) -> StatementFor:
    """Returns what the policy of the events queue has to say so that the component of that name can fill it.

    A queue with a KMS key needs more: the key's policy has to let events.amazonaws.com use it.
    """

    def statement(queue_arn: Output[str]) -> Statement:
        rule_arn = iam.beside(queue_arn, "events", f"rule/{rule_name(name)}")
        return {
            "Sid": "SesEvents",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
        }

    return statement


def dkim_records(domain: str, identity: aws.sesv2.EmailIdentity, region: str) -> Iterator[DnsRecord]:
    """Yields the records that prove the domain and hold the keys its mail is signed with (SES: Easy DKIM)."""
    host = f"dkim.{region}.amazonses.com" if region in _OWN_DKIM_DOMAIN else "dkim.amazonses.com"
    for number in range(_DKIM_TOKENS):
        # A preview comes before SES has made them.
        token = identity.dkim_signing_attributes.apply(lambda found, n=number: found.tokens[n] if found.tokens else "")
        yield DnsRecord(
            domain=domain,
            role=f"dkim-{number + 1}",
            name=Output.concat(token, f"._domainkey.{domain}"),
            type="CNAME",
            value=Output.concat(token, f".{host}"),
        )


def mail_from_records(domain: str, region: str) -> Iterator[DnsRecord]:
    """Yields the records of the envelope sender's domain (SES: using a custom MAIL FROM domain)."""
    name = f"{_MAIL_FROM}.{domain}"
    yield DnsRecord(
        domain=domain, role="mail-from-mx", name=name, type="MX", value=f"10 feedback-smtp.{region}.amazonses.com"
    )
    yield DnsRecord(
        domain=domain, role="mail-from-spf", name=name, type="TXT", value="v=spf1 include:amazonses.com -all"
    )
