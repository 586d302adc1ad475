from typing import Any

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-web"
ACL = f"arn:aws:wafv2:${{region}}:${{account}}:${{{NAME}.arn}}"
BALANCER = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/1"
BODY = """
from infra.waf import FirewallLog, Waf, WafArgs
balancer = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/web/1"
waf = Waf("smtp-proxy-prod-web", WafArgs(balancer_arn=balancer, ARGS), opts)
pulumi.export("waf", [waf.arn, waf.name])
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    args = 'log=FirewallLog(days=30, key_arn="key")'
    return declare(tmp_path_factory.mktemp("waf"), BODY.replace("ARGS", args))


@pytest.fixture(scope="module")
def unlogged(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("waf"), BODY.replace("ARGS", "requests_per_window=500"))


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_contract(graph: Graph, check: contract.Check) -> None:
    assert check(graph) == []


def visible(metric: str) -> dict[str, object]:
    return {"cloudwatchMetricsEnabled": True, "metricName": metric, "sampledRequestsEnabled": False}


def managed(group: str, priority: int, *counted: str) -> dict[str, object]:
    statement: dict[str, Any] = {
        "vendorName": "AWS",
        "name": group,
        "ruleActionOverrides": [{"name": rule, "actionToUse": {"count": {}}} for rule in counted],
    }
    return {
        "name": group,
        "priority": priority,
        "overrideAction": {"none": {}},
        "statement": {"managedRuleGroupStatement": statement},
        "visibilityConfig": visible(group),
    }


def rate(limit: int) -> dict[str, object]:
    return {
        "name": "rate",
        "priority": 0,
        "action": {"block": {"customResponse": {"responseCode": 429}}},
        "statement": {
            "rateBasedStatement": {"aggregateKeyType": "IP", "limit": limit, "evaluationWindowSec": 300},
        },
        "visibilityConfig": visible("rate"),
    }


@pytest.mark.requirement("QG-5")
def test_what_is_refused_and_what_only_counts(graph: Graph) -> None:
    (acl,) = graph.of_type("aws:wafv2/webAcl:WebAcl")
    assert acl.inputs == {
        "scope": "REGIONAL",
        "defaultAction": {"allow": {}},
        "rules": [
            rate(10_000),
            managed("AWSManagedRulesAmazonIpReputationList", 1),
            managed("AWSManagedRulesKnownBadInputsRuleSet", 2),
            managed("AWSManagedRulesCommonRuleSet", 3, "SizeRestrictions_BODY", "CrossSiteScripting_BODY"),
        ],
        "visibilityConfig": visible("all"),
    }


@pytest.mark.requirement("QG-5")
def test_it_stands_before_the_balancer(graph: Graph) -> None:
    (association,) = graph.of_type("aws:wafv2/webAclAssociation:WebAclAssociation")
    assert association.inputs == {"webAclArn": ACL, "resourceArn": BALANCER}
    assert graph.exports == {"waf": [ACL, f"${{{NAME}.name}}"]}


@pytest.mark.requirement("QG-5")
def test_the_log_has_what_was_refused_and_no_credentials(graph: Graph) -> None:
    (group,) = graph.of_type("aws:cloudwatch/logGroup:LogGroup")
    assert group.inputs == {"name": f"aws-waf-logs-{NAME}", "retentionInDays": 30, "kmsKeyId": "key"}
    (logging,) = graph.of_type("aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration")
    headers = ("authorization", "cookie", "x-api-key")
    assert logging.inputs == {
        "resourceArn": ACL,
        "logDestinationConfigs": [f"arn:aws:cloudwatch:${{region}}:${{account}}:${{{NAME}.arn}}"],
        "redactedFields": [{"singleHeader": {"name": header}} for header in headers],
        "loggingFilter": {
            "defaultBehavior": "DROP",
            "filters": [
                {
                    "behavior": "KEEP",
                    "requirement": "MEETS_ANY",
                    "conditions": [{"actionCondition": {"action": action}} for action in ("BLOCK", "COUNT")],
                }
            ],
        },
    }


def test_a_stack_may_keep_no_log_and_set_the_rate(unlogged: Graph) -> None:
    (acl,) = unlogged.of_type("aws:wafv2/webAcl:WebAcl")
    assert acl.inputs["rules"][0] == rate(500)
    assert [node.type for node in unlogged.resources] == [
        "aws:wafv2/webAcl:WebAcl",
        "aws:wafv2/webAclAssociation:WebAclAssociation",
    ]
