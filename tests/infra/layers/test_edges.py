import json

import pytest

from infra.graph import Graph
from tests.infra.wiring import arn, prefix, subnets, target, token

LISTENER = "aws:lb/listener:Listener"


@pytest.mark.requirement("SC-7.1")
def test_a_balancer_for_mail_and_one_for_the_web(stack: Graph) -> None:
    kept = stack.stack == "prod"
    balancers = stack.of_type("aws:lb/loadBalancer:LoadBalancer")
    common = {"internal": False, "subnets": subnets(stack, "public"), "enableDeletionProtection": kept}
    assert {node.name.removeprefix(f"{prefix(stack)}-"): node.inputs for node in balancers} == {
        "smtp": {
            **common,
            "loadBalancerType": "network",
            "securityGroups": [token(stack, "smtp-balancer")],
            "enableCrossZoneLoadBalancing": True,
        },
        "web": {
            **common,
            "loadBalancerType": "application",
            "securityGroups": [token(stack, "web-balancer")],
            "dropInvalidHeaderFields": True,
            "idleTimeout": 60,
            "accessLogs": {"enabled": True, "bucket": token(stack, "access", "bucket")},
        },
    }


@pytest.mark.requirement("SC-7.1")
def test_what_the_balancers_listen_to(stack: Graph) -> None:
    listeners = stack.of_type(LISTENER)
    assert sorted(
        (node.inputs["loadBalancerArn"], node.inputs["port"], node.inputs["protocol"]) for node in listeners
    ) == sorted(
        [
            (arn(stack, "lb", "smtp"), 587, "TCP"),
            (arn(stack, "lb", "smtp"), 465, "TCP"),
            (arn(stack, "lb", "web"), 80, "HTTP"),
            (arn(stack, "lb", "web"), 443, "HTTPS"),
            (arn(stack, "lb", "web"), 8443, "HTTPS"),
        ]
    )
    assert [
        (node.inputs["sslPolicy"], node.inputs["certificateArn"]) for node in listeners if "sslPolicy" in node.inputs
    ] == [("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", arn(stack, "acm", "web"))] * 2


def test_where_each_listener_sends_first(stack: Graph) -> None:
    actions = {
        node.name.removeprefix(f"{prefix(stack)}-"): node.inputs["defaultActions"] for node in stack.of_type(LISTENER)
    }
    redirect = {"protocol": "HTTPS", "port": "443", "statusCode": "HTTP_301"}
    assert actions == {
        "web-80": [{"type": "redirect", "redirect": redirect}],
        "web-443": [{"type": "forward", "targetGroupArn": target(stack, "console", "blue")}],
        "web-8443": [{"type": "forward", "targetGroupArn": target(stack, "console", "green")}],
        **{
            f"smtp-{port}": [
                {
                    "type": "forward",
                    "forward": {
                        "targetGroups": [
                            {"arn": target(stack, port, "blue"), "weight": 100},
                            {"arn": target(stack, port, "green"), "weight": 0},
                        ]
                    },
                }
            ]
            for port in ("587", "465")
        },
    }
    rules = {
        node.inputs["listenerArn"]: (node.inputs["actions"], node.inputs["conditions"])
        for node in stack.of_type("aws:lb/listenerRule:ListenerRule")
    }
    paths = [{"pathPattern": {"values": ["/api/*", "/healthz*", "/openapi.json"]}}]
    assert rules == {
        arn(stack, "lb", f"web-{port}"): (
            [{"type": "forward", "targetGroupArn": target(stack, "api", colour)}],
            paths,
        )
        for port, colour in ((443, "blue"), (8443, "green"))
    }


@pytest.mark.requirement("SC-8.3")
@pytest.mark.requirement("ECS-009")
def test_sessions_have_300_seconds_to_end(stack: Graph) -> None:
    groups = stack.of_type("aws:lb/targetGroup:TargetGroup")
    assert {node.inputs["vpcId"] for node in groups} == {token(stack, "network")}
    assert sorted((node.inputs["port"], node.inputs["deregistrationDelay"]) for node in groups) == [
        (2465, 300),
        (2465, 300),
        (2587, 300),
        (2587, 300),
        (8080, 30),
        (8080, 30),
        (8080, 120),
        (8080, 120),
    ]
    mail = [node.inputs for node in groups if node.inputs["protocol"] == "TCP"]
    assert [(one["preserveClientIp"], one["connectionTermination"]) for one in mail] == [("true", False)] * 4


def test_names_lead_to_the_balancers(stack: Graph) -> None:
    domain = {"dev": "dev.mail.example.com", "prod": "mail.example.com"}[stack.stack]
    for role, host, signs in (("smtp", "smtp", "letsencrypt.org"), ("web", "console", "amazon.com")):
        record = stack.one("aws:route53/record:Record", f"{prefix(stack)}-{role}-name")
        assert record.inputs["name"] == f"{host}.{domain}"
        assert record.inputs["zoneId"] == token(stack, "zone", "zone_id")
        (alias,) = record.inputs["aliases"]
        assert (alias["name"], alias["zoneId"]) == (token(stack, role, "dns_name"), token(stack, role, "zone_id"))
        authority = stack.one("aws:route53/record:Record", f"{prefix(stack)}-{role}-name-caa")
        assert signs in authority.inputs["records"][0]


def test_balancers_and_buckets_write_their_logs_for_this_account_only(stack: Graph) -> None:
    policy = json.loads(stack.one("aws:s3/bucketPolicy:BucketPolicy", f"{prefix(stack)}-access").inputs["policy"])
    assert [one for one in policy["Statement"] if one["Effect"] == "Allow"] == [
        {
            "Sid": "AccessLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"},
            "Action": ["s3:PutObject"],
            "Resource": f"{arn(stack, 's3', 'access')}/AWSLogs/${{account}}/*",
        },
        {
            "Sid": "RequestLogs",
            "Effect": "Allow",
            "Principal": {"Service": "logging.s3.amazonaws.com"},
            "Action": ["s3:PutObject"],
            "Resource": f"{arn(stack, 's3', 'access')}/s3/*",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "${account}"},
                "ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{prefix(stack)}-*"},
            },
        },
    ]
