import json

import pytest

from infra.graph import Graph
from infra.mail import identified
from infra.settings import SesSettings
from mail.events.ses import CONFIGURATION_SET
from tests.infra import contract
from tests.infra.programs import declare

EVENTS_QUEUE = "arn:aws:sqs:${region}:${account}:${smtp-proxy-prod-events.arn}"
SET = "smtp-proxy-prod-mail"
BODY = """
from infra.mail import Mail, MailArgs, events_statement
from infra.queues import Queue, QueueArgs

statement = events_statement("smtp-proxy-prod-mail")
args = QueueArgs(visibility_seconds=60, retention_days=14, max_receives=5, statements=[statement])
events = Queue("smtp-proxy-prod-events", args, opts)
mail = Mail(
    "smtp-proxy-prod-mail",
    MailArgs(
        settings=settings.ses,
        region=settings.region,
        zone=settings.names.zone,
        zone_id="Z1",
        events_queue_arn=events.arn,
    ),
    opts,
)
pulumi.export("set", mail.configuration_set)
pulumi.export("identities", Output.all(**mail.identity_arns))
pulumi.export("records", mail.records)
"""
DOMAINS = {
    "sesDomains": ["mail.example.com", "other.example"],
    "inboundDomains": ["in.mail.example.com", "third.example"],
}


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("mail"), BODY, DOMAINS)


def test_it_keeps_the_contract(mail: Graph) -> None:
    assert {check.__name__: check(mail) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


def test_the_configuration_set_requires_tls_and_rewrites_nothing(mail: Graph) -> None:
    assert mail.one("aws:sesv2/configurationSet:ConfigurationSet", SET).inputs == {
        "configurationSetName": SET,
        "deliveryOptions": {"tlsPolicy": "REQUIRE"},
        "reputationOptions": {"reputationMetricsEnabled": True},
        "sendingOptions": {"sendingEnabled": True},
        "suppressionOptions": {"suppressedReasons": ["BOUNCE", "COMPLAINT"]},
    }


@pytest.mark.requirement("FLOW-INFRA-004")
def test_every_domain_is_identified_by_dkim_keys_of_2048_bits(mail: Graph) -> None:
    identities = mail.of_type("aws:sesv2/emailIdentity:EmailIdentity")
    assert [identity.inputs for identity in identities] == [
        {
            "emailIdentity": domain,
            "configurationSetName": SET,
            "dkimSigningAttributes": {"nextSigningKeyLength": "RSA_2048_BIT"},
        }
        for domain in ("mail.example.com", "other.example", "third.example")
    ]
    assert mail.exports["identities"] == {
        domain: f"arn:aws:ses:${{region}}:${{account}}:${{{SET}-{domain}.arn}}"
        for domain in ("mail.example.com", "other.example", "third.example")
    }


def test_domains_sent_for_have_an_envelope_sender_of_their_own(mail: Graph) -> None:
    senders = mail.of_type("aws:sesv2/emailIdentityMailFromAttributes:EmailIdentityMailFromAttributes")
    assert [sender.inputs for sender in senders] == [
        {
            "emailIdentity": domain,
            "mailFromDomain": f"bounce.{domain}",
            "behaviorOnMxFailure": "USE_DEFAULT_VALUE",
        }
        for domain in ("mail.example.com", "other.example")
    ]


def test_records_of_the_zone_are_made(mail: Graph) -> None:
    own = f"{SET}-mail.example.com"
    made = {
        (record.inputs["name"], record.inputs["type"], *record.inputs["records"])
        for record in mail.of_type("aws:route53/record:Record")
    }
    assert made == {
        (
            f"${{{own}.dkim_token_{n}}}._domainkey.mail.example.com",
            "CNAME",
            f"${{{own}.dkim_token_{n}}}.dkim.amazonses.com",
        )
        for n in range(3)
    } | {
        ("bounce.mail.example.com", "MX", "10 feedback-smtp.us-east-1.amazonses.com"),
        ("bounce.mail.example.com", "TXT", "v=spf1 include:amazonses.com -all"),
    }
    assert {record.inputs["zoneId"] for record in mail.of_type("aws:route53/record:Record")} == {"Z1"}


def test_records_of_other_zones_are_told(mail: Graph) -> None:
    assert [(record["name"].rpartition("}")[2], record["type"]) for record in mail.exports["records"]] == [
        ("._domainkey.other.example", "CNAME"),
        ("._domainkey.other.example", "CNAME"),
        ("._domainkey.other.example", "CNAME"),
        ("._domainkey.third.example", "CNAME"),
        ("._domainkey.third.example", "CNAME"),
        ("._domainkey.third.example", "CNAME"),
        ("bounce.other.example", "MX"),
        ("bounce.other.example", "TXT"),
    ]


def test_a_region_may_have_a_dkim_domain_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = declare(tmp_path_factory.mktemp("mail"), BODY, {**DOMAINS, "region": "eu-south-1"})
    keys = [
        record.inputs["records"][0].rpartition("}")[2]
        for record in elsewhere.of_type("aws:route53/record:Record")
        if record.inputs["type"] == "CNAME"
    ]
    assert keys == [".dkim.eu-south-1.amazonses.com"] * 3


def test_events_of_this_set_go_over_the_default_bus_to_the_queue(mail: Graph) -> None:
    (destination,) = mail.of_type("aws:sesv2/configurationSetEventDestination:ConfigurationSetEventDestination")
    assert destination.inputs == {
        "configurationSetName": SET,
        "eventDestinationName": "events",
        "eventDestination": {
            "enabled": True,
            "matchingEventTypes": [
                "BOUNCE",
                "COMPLAINT",
                "DELIVERY",
                "DELIVERY_DELAY",
                "REJECT",
                "RENDERING_FAILURE",
                "SEND",
            ],
            "eventBridgeDestination": {"eventBusArn": "arn:aws:events:${region}:${account}:event-bus/default"},
        },
    }
    (rule,) = mail.of_type("aws:cloudwatch/eventRule:EventRule")
    assert json.loads(rule.inputs["eventPattern"]) == {
        "source": ["aws.ses"],
        "detail": {"mail": {"tags": {CONFIGURATION_SET: [SET]}}},
    }
    (target,) = mail.of_type("aws:cloudwatch/eventTarget:EventTarget")
    assert target.inputs == {"rule": SET, "arn": EVENTS_QUEUE}


def test_only_that_rule_may_fill_the_queue(mail: Graph) -> None:
    (rule,) = mail.of_type("aws:cloudwatch/eventRule:EventRule")
    policy = mail.one("aws:sqs/queuePolicy:QueuePolicy", "smtp-proxy-prod-events")
    [statement] = [each for each in json.loads(policy.inputs["policy"])["Statement"] if each["Effect"] == "Allow"]
    assert statement == {
        "Sid": "SesEvents",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": EVENTS_QUEUE,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:events:${{region}}:${{account}}:rule/{rule.inputs['name']}"}
        },
    }


@pytest.mark.parametrize(
    ("inbound", "needed"),
    [
        ((), ("a.example",)),
        (("a.example", "in.a.example"), ("a.example",)),
        (("ba.example",), ("a.example", "ba.example")),
    ],
)
def test_a_domain_below_another_needs_no_identity(inbound: tuple[str, ...], needed: tuple[str, ...]) -> None:
    settings = SesSettings(domains=("a.example",), inbound_domains=inbound, singletons=False, app_queues=())
    assert tuple(identified(settings)) == needed
