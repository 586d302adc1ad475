import json
from typing import Any

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

ROOT = {"AWS": "arn:aws:iam::${account}:root"}
BODY = """
from infra.keys import Key, KeyArgs, for_logs, for_publishers, via
Key(
    "data",
    KeyArgs(
        description="Database, cache and table",
        deletion_days=30,
        services=via("us-east-1", "rds", "secretsmanager"),
        granting=via("us-east-1", "rds"),
    ),
    opts,
)
Key(
    "logs",
    KeyArgs(
        description="Logs and alarms",
        deletion_days=30,
        statements=[
            for_logs("us-east-1", "/smtp-proxy/prod/*"),
            for_publishers("cloudwatch.amazonaws.com", "budgets.amazonaws.com"),
        ],
    ),
    opts,
)
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("keys"), BODY)


def test_the_contract(keys: Graph) -> None:
    assert [problem for check in (*contract.ALL, contract.weak) for problem in check(keys)] == []


@pytest.mark.requirement("QG-5")
def test_a_service_gets_grants_and_an_identity_none(keys: Graph) -> None:
    administer, *others = _statements(keys, "data")
    assert (administer["Principal"], "kms:CreateGrant" in administer["Action"]) == (ROOT, False)
    common = {"Effect": "Allow", "Principal": ROOT, "Resource": "*"}
    services = ["rds.us-east-1.amazonaws.com", "secretsmanager.us-east-1.amazonaws.com"]
    assert others == [
        {
            "Sid": "Use",
            **common,
            "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
            "Condition": {"StringEquals": {"kms:ViaService": services}},
        },
        {
            "Sid": "Grant",
            **common,
            "Action": ["kms:CreateGrant"],
            "Condition": {
                "StringEquals": {"kms:ViaService": services[:1]},
                "Bool": {"kms:GrantIsForAWSResource": "true"},
            },
        },
    ]


@pytest.mark.requirement("QG-5")
def test_services_use_a_key_only_for_this_account(keys: Graph) -> None:
    administer, use, *others = _statements(keys, "logs")
    assert [administer["Sid"], use["Sid"]] == ["Administer", "Use"]
    common = {"Effect": "Allow", "Resource": "*"}
    group = "arn:aws:logs:${region}:${account}:log-group:/smtp-proxy/prod/*"
    assert others == [
        {
            "Sid": "Logs",
            **common,
            "Principal": {"Service": "logs.us-east-1.amazonaws.com"},
            "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"],
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": group}},
        },
        {
            "Sid": "Publishers",
            **common,
            "Principal": {"Service": ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Condition": {"StringEquals": {"aws:SourceAccount": "${account}"}},
        },
    ]


def _statements(graph: Graph, name: str) -> list[dict[str, Any]]:
    return json.loads(graph.one("aws:kms/keyPolicy:KeyPolicy", name).inputs["policy"])["Statement"]
