"""The real program with its switches the other way: what neither dev nor prod has."""

import json
from ipaddress import ip_network
from typing import Any

import pytest

from backing.settings import parse_networks
from infra.graph import Graph
from infra.policy import run
from tests.infra import contract
from tests.infra.samples import WHOLE, project
from tests.infra.wiring import TASK, arn, token

CHANGES: dict[str, Any] = {
    "databaseReplica": True,
    "predictiveScaling": True,
    "waf": True,
    "interfaceEndpoints": ["sqs"],
    "sesDomains": ["shop.example"],
    "inboundDomains": ["in.shop.example"],
    "providerNetworks": ["10.8.0.0/16", "192.168.7.0/24"],
}


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    from infra import graph  # noqa: PLC0415 - pulumi_aws warns while it is imported

    return graph.build("prod", project(tmp_path_factory.mktemp("switched"), CHANGES, WHOLE))


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_every_node_keeps_the_contract(switched: Graph, check: contract.Check) -> None:
    assert check(switched) == []


def test_no_policy_is_broken(switched: Graph) -> None:
    assert run.report(switched).findings == ()


def test_searches_are_read_at_the_replica(switched: Graph) -> None:
    for role in ("api", "console"):
        task = switched.one(TASK, f"smtp-proxy-prod-{role}")
        told = {one["name"]: one["value"] for one in json.loads(task.inputs["containerDefinitions"])[0]["environment"]}
        address = told["DATABASE_URL"].replace("-database.address", "-database-replica.address")
        assert told["DATABASE_REPLICA_URL"] == address != told["DATABASE_URL"]
        allowed = json.loads(switched.one("aws:iam/rolePolicy:RolePolicy", f"smtp-proxy-prod-{role}").inputs["policy"])
        signs_in = [one["Resource"] for one in allowed["Statement"] if one["Action"] == ["rds-db:connect"]]
        assert signs_in == [
            [f"arn:aws:rds-db:${{region}}:${{account}}:dbuser:{token(switched, name, 'resource_id')}/web"]
            for name in ("database", "database-replica")
        ]


def test_providers_in_networks_of_our_own_are_known_to_all_that_deal_with_them(switched: Graph) -> None:
    tasks = {task.name.removeprefix("smtp-proxy-prod-"): task for task in switched.of_type(TASK)}
    told = {
        role: {one["name"]: one["value"] for one in json.loads(task.inputs["containerDefinitions"])[0]["environment"]}
        for role, task in tasks.items()
    }
    found = {role: each.get("PROVIDER_ALLOWED_NETWORKS") for role, each in told.items()}
    networks = "10.8.0.0/16,192.168.7.0/24"
    assert {role for role, value in found.items() if value} == {"worker", "api", "console", "operator"}
    assert set(found.values()) == {None, networks}
    assert parse_networks(networks) == (ip_network("10.8.0.0/16"), ip_network("192.168.7.0/24"))


def test_the_master_password_is_ours_to_change(switched: Graph) -> None:
    task = switched.one(TASK, "smtp-proxy-prod-prepare")
    told = {one["name"]: one["value"] for one in json.loads(task.inputs["containerDefinitions"])[0]["environment"]}
    assert told["DATABASE_MASTER_SECRET"] == arn(switched, "secretsmanager", "database-master")
    assert told["DATABASE_INSTANCE"] == "smtp-proxy-prod-database"


@pytest.mark.requirement("SCALE-012")
def test_tasks_are_started_ahead_of_the_load(switched: Graph) -> None:
    policies = switched.of_type("aws:appautoscaling/policy:Policy")
    assert [
        (node.name, node.inputs["predictiveScalingPolicyConfiguration"]["mode"])
        for node in policies
        if node.inputs["policyType"] == "PredictiveScaling"
    ] == [("smtp-proxy-prod-relay-scaling-forecast", "ForecastAndScale")]


@pytest.mark.requirement("FLOW-INFRA-004")
def test_records_of_domains_that_others_run_are_told(switched: Graph) -> None:
    told = [(record["name"], record["type"], record["value"]) for record in switched.exports["dns_records"]]
    assert ("in.shop.example", "MX", "10 inbound-smtp.us-east-1.amazonaws.com") in told
    assert ("bounce.shop.example", "MX", "10 feedback-smtp.us-east-1.amazonses.com") in told
    assert sum(name.endswith("._domainkey.shop.example") for name, _, _ in told) == 3
