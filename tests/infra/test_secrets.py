import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-credential-key"
ARN = f"arn:aws:secretsmanager:${{region}}:${{account}}:${{{NAME}.arn}}"
BODY = """
from infra.secrets import Secret, SecretArgs
made = Secret(
    "smtp-proxy-prod-credential-key",
    SecretArgs(
        path="smtp-proxy/prod/credential-key",
        description="Checks SMTP credentials",
        key_arn="arn:aws:kms:us-east-1:1:key/secrets",
        recovery_days=30,
    ),
    opts,
)
pulumi.export("arn", made.arn)
pulumi.export("name", made.name)
"""


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("secret"), BODY)


@pytest.mark.requirement("ECS-010")
def test_a_secret_has_a_name_and_no_value(secret: Graph) -> None:
    assert [problem for check in contract.ALL for problem in check(secret)] == []
    assert {node.type for node in secret.resources} == {
        "aws:secretsmanager/secret:Secret",
        "aws:secretsmanager/secretPolicy:SecretPolicy",
    }
    assert secret.one("aws:secretsmanager/secret:Secret", NAME).inputs == {
        "name": "smtp-proxy/prod/credential-key",
        "description": "Checks SMTP credentials",
        "kmsKeyId": "arn:aws:kms:us-east-1:1:key/secrets",
        "recoveryWindowInDays": 30,
    }
    assert secret.exports == {"arn": ARN, "name": "smtp-proxy/prod/credential-key"}


@pytest.mark.requirement("QG-5")
def test_who_is_refused(secret: Graph) -> None:
    policy = secret.one("aws:secretsmanager/secretPolicy:SecretPolicy", NAME)
    assert (policy.inputs["secretArn"], policy.inputs["blockPublicPolicy"]) == (ARN, True)
    common = {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:*", "Resource": [ARN]}
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {"Sid": "RefusePlaintext", **common, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {
            "Sid": "RefuseStrangers",
            **common,
            "Condition": {
                "StringNotEquals": {"aws:PrincipalAccount": "${account}"},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        },
    ]
