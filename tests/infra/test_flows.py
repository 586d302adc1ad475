import json
import re
from collections.abc import Mapping
from functools import cache

import pytest

from infra import config
from infra.flows import GROUPS, Flow, flows, table
from infra.project import Project
from infra.settings import Settings
from tests.infra.configurations import errors, one

CLIENTS = "clients hand in mail"
WEB = "browsers and programs; 80 redirects"
DATABASE = "PostgreSQL over TLS"
CACHE = "Valkey over TLS"
OUT = "AWS APIs and HTTPS of others"
INSIDE = "AWS APIs inside the VPC"


@cache
def values_of(stack: str) -> Mapping[str, str]:
    return Project().configuration(stack)


def of(stack: str, **changes: str) -> Settings:
    values = {**values_of(stack)} | {f"smtp-proxy:{key}": value for key, value in changes.items()}
    return config.read("smtp-proxy", stack, values)


def expected(cache: str) -> list[tuple[str, str, str, str]]:
    return [
        ("internet", "smtp-balancer", "tcp/587, tcp/465", CLIENTS),
        ("internet", "web-balancer", "tcp/80, tcp/443", WEB),
        ("10.40.0.0/16", "web-balancer", "tcp/8443", "tries a release before it is out"),
        ("smtp-balancer", "relay", "tcp/2587, tcp/2465", "SMTP sessions"),
        ("smtp-balancer", "relay", "tcp/8081", "health checks"),
        ("web-balancer", "api", "tcp/8080", "requests and health checks"),
        ("web-balancer", "console", "tcp/8080", "requests and health checks"),
        ("relay", "database", "tcp/5432", DATABASE),
        ("worker", "database", "tcp/5432", DATABASE),
        ("api", "database", "tcp/5432", DATABASE),
        ("console", "database", "tcp/5432", DATABASE),
        ("operator", "database", "tcp/5432", DATABASE),
        ("relay", "cache", cache, CACHE),
        ("worker", "cache", cache, CACHE),
        ("api", "cache", cache, CACHE),
        ("console", "cache", cache, CACHE),
        ("operator", "cache", cache, CACHE),
        ("relay", "internet", "tcp/443", OUT),
        ("worker", "internet", "tcp/443", OUT),
        ("api", "internet", "tcp/443", OUT),
        ("console", "internet", "tcp/443", OUT),
        ("renewer", "internet", "tcp/443", OUT),
        ("operator", "internet", "tcp/443", OUT),
        ("worker", "internet", "tcp/465, tcp/587, tcp/2465, tcp/2525, tcp/2587", "SMTP of delivery providers"),
    ]


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize(("stack", "cache"), [("dev", "tcp/6379, tcp/6380"), ("prod", "tcp/6379")])
def test_the_whole_table(stack: str, cache: str) -> None:
    assert table(of(stack)) == expected(cache)


def test_interface_endpoints_are_reached_by_every_task() -> None:
    assert table(of("prod", interfaceEndpoints='["sqs"]')) == [
        *expected("tcp/6379"),
        ("relay", "endpoints", "tcp/443", INSIDE),
        ("worker", "endpoints", "tcp/443", INSIDE),
        ("api", "endpoints", "tcp/443", INSIDE),
        ("console", "endpoints", "tcp/443", INSIDE),
        ("renewer", "endpoints", "tcp/443", INSIDE),
        ("operator", "endpoints", "tcp/443", INSIDE),
    ]


def test_only_chosen_networks_come_in() -> None:
    found = flows(of("prod", smtpNetworks='["192.0.2.0/24", "198.51.100.7/32"]', webNetworks='["203.0.113.0/24"]'))
    assert [(flow.source, flow.target, flow.ports) for flow in found if flow.source not in GROUPS] == [
        ("192.0.2.0/24", "smtp-balancer", (587, 465)),
        ("198.51.100.7/32", "smtp-balancer", (587, 465)),
        ("203.0.113.0/24", "web-balancer", (80, 443)),
        ("10.40.0.0/16", "web-balancer", (8443,)),
    ]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_port_25_is_never_used(stack: str) -> None:
    assert [flow for flow in flows(of(stack)) if 25 in flow.ports] == []


# AWS: "IpRange" and "CreateSecurityGroup", what a description may have.
DESCRIPTION = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}")


def test_descriptions_are_ones_that_aws_takes() -> None:
    texts = {*GROUPS.values(), *(flow.why for flow in flows(of("prod", interfaceEndpoints='["sqs"]')))}
    assert [text for text in texts if not DESCRIPTION.fullmatch(text)] == []


def test_a_flow_is_tcp_unless_it_says_so() -> None:
    assert Flow(source="relay", target="cache", ports=(1,), why="x").protocol == "tcp"


def networks(number: int) -> str:
    return json.dumps([f"192.0.2.{last}/32" for last in range(number)])


def test_as_many_networks_as_a_security_group_takes() -> None:
    full = of("prod", smtpNetworks=networks(30), webNetworks=networks(29)).network
    assert (len(full.smtp_networks), len(full.web_networks)) == (30, 29)
    assert errors(smtpNetworks=networks(31), webNetworks=networks(30)) == "\n- ".join(
        [
            "stack dev cannot be built, 2 problem(s) in its configuration:",
            *(
                f"smtp-proxy:{key} makes {rules} rules, one for each network and port; AWS allows a security group 60. "
                "In the stack's file: write fewer and wider networks"
                for key, rules in (("smtpNetworks", 62), ("webNetworks", 61))
            ),
        ]
    )


def test_no_endpoint_is_paid_for_what_is_free() -> None:
    assert errors(interfaceEndpoints='["sqs", "s3"]') == one(
        "smtp-proxy:interfaceEndpoints has s3; the stack reaches it through a gateway endpoint, which costs nothing. "
        "In the stack's file: remove s3"
    )
