import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backing.certificates.record import PREFIX
from infra.graph import Graph, Node
from infra.project import ROOT
from tests.infra import contract, permissions, policies
from tests.infra.permissions import Permissions
from tests.infra.programs import declare

BODY = """
from infra import grants
from infra.roles import TaskRole, TaskRoleArgs
def arn(service, rest, region="us-east-1", account="123456789012"):
    return Output.from_input(f"arn:aws:{service}:{region}:{account}:{rest}")
cluster = arn("ecs", "cluster/prod")
roles = ("relay", "worker", "api", "console", "renewer", "operator", "prepare")
keys = dict(mail_key=arn("kms", "key/mail"), secrets_key=arn("kms", "key/secrets"),
    master_is_ours=True,
    ses_configuration_set=arn("ses", "configuration-set/mail")) if settings.customer_key else {}
resources = grants.Resources(
    region="us-east-1",
    cluster=cluster,
    delivery_queue=arn("sqs", "delivery"),
    dead_letter_queue=arn("sqs", "dead"),
    events_queue=arn("sqs", "events"),
    bodies_bucket=arn("s3", "bodies", "", ""),
    archive_bucket=arn("s3", "archive", "", ""),
    backup_bucket=arn("s3", "backups", "", ""),
    certificate_secret=arn("secretsmanager", "secret:certificate"),
    credential_key_secret=arn("secretsmanager", "secret:credential"),
    issued_secrets=arn("secretsmanager", "secret:smtp-proxy/prod/issued/*"),
    acme_account_secret=arn("secretsmanager", "secret:acme"),
    master_secret=arn("secretsmanager", "secret:master"),
    lock_table=arn("dynamodb", "table/locks"),
    hosted_zone=arn("route53", "hostedzone/Z1", "", ""),
    challenge_names=["_acme-challenge.smtp.example.com"],
    database=arn("rds", "db:main"),
    database_resource_id=Output.from_input("db-ABC"),
    replica_resource_id=Output.from_input("db-DEF"),
    database_users={role: f"smtp_proxy_{role}" for role in roles},
    cache=arn("elasticache", "replicationgroup:main"),
    cache_users={role: arn("elasticache", f"user:{role}") for role in roles},
    provider_key=arn("kms", "key/providers"),
    ses_identities=[arn("ses", "identity/example.com")],
    **keys,
)
for role in roles:
    TaskRole(role, TaskRoleArgs(cluster_arn=cluster, statements=grants.statements(role, resources)), opts)
TaskRole("shell", TaskRoleArgs(
    cluster_arn=cluster, statements=grants.shells(arn("logs", "log-group:exec"), arn("kms", "key/exec"))), opts)
TaskRole("keyless", TaskRoleArgs(cluster_arn=cluster, statements=grants.shells(arn("logs", "log-group:exec"))), opts)
"""
# What the code can ask for, and the stack's settings keep it from.
UNUSED = {
    # HTTP-01 tells relays what to answer by way of the cache; the stack proves names by DNS.
    "renewer": {"elasticache:Connect"},
    # It signs in with the master password, since it makes those users that sign in through IAM.
    "prepare": {"rds-db:connect"},
}
AWS = "arn:aws:{}:us-east-1:123456789012:{}"
POLICY = "aws:iam/rolePolicy:RolePolicy"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("grants") / "stack", BODY)


def document(graph: Graph, role: str) -> str:
    return str(graph.one(POLICY, role).inputs["policy"])


def told(stack: Graph, role: str) -> dict[str, str]:
    """The environment of a task of the real stack."""
    task = stack.one("aws:ecs/taskDefinition:TaskDefinition", f"smtp-proxy-{stack.stack}-{role}")
    (container,) = json.loads(task.inputs["containerDefinitions"])
    return {each["name"]: each["value"] for each in container["environment"]}


def granted(graph: Graph, role: str) -> dict[str, set[str]]:
    """By resource what a role of the sample may do."""
    return allowed(document(graph, role))


def allowed(text: str) -> dict[str, set[str]]:
    """By resource what is allowed on it, statements with conditions apart."""
    found: dict[str, set[str]] = {}
    for statement in policies.statements(text):
        for resource in statement["Resource"]:
            mark = " if" if "Condition" in statement else ""
            found.setdefault(f"{resource}{mark}", set()).update(statement["Action"])
    return found


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("process", permissions.processes(ROOT))
def test_a_process_may_do_what_its_code_does_and_nothing_else(graph: Graph, code: Permissions, process: str) -> None:
    asked = code.of(process)
    unused = UNUSED.get(process, set())
    assert len(asked) > 3
    assert unused <= asked
    assert policies.actions(document(graph, process)) == asked - unused


def test_what_is_not_used_is_switched_off(stack: Graph) -> None:
    assert told(stack, "renewer")["ACME_CHALLENGE"] == "dns-01"
    assert "DATABASE_IAM_AUTH" not in told(stack, "prepare")
    assert "DATABASE_MASTER_SECRET" in told(stack, "prepare")


def test_no_call_to_aws_is_overlooked(code: Permissions) -> None:
    # Nothing in the rooms calls the last one.
    assert set(code.unreached()) <= {"backing.s3.Bodies.delete"}


def test_a_new_call_is_noticed(tmp_path: Path, code: Permissions) -> None:
    for room in ("mail", "backing", "relay", "worker"):
        for source in (ROOT / room).rglob("*.py"):
            copy = tmp_path / source.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(source.read_text())
    changed = tmp_path / "relay/__main__.py"
    peek = "async def peek(bodies: Bodies, at: object) -> bytes:\n    return await bodies.get(at)\n"
    changed.write_text(f"{changed.read_text()}\n\n{peek}")
    assert Permissions(tmp_path).of("relay") - code.of("relay") == {"s3:GetObject", "s3:ListBucket"}


@pytest.mark.requirement("QG-5")
def test_iam_knows_every_action_resource_and_condition(graph: Graph) -> None:
    documents: list[Node] = graph.of_type(POLICY)
    assert len(documents) == 9
    assert [problem for node in documents for problem in policies.problems(node)] == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ({"Action": ["sqs:SendMesage"], "Resource": ["*"]}, "there is no action sqs:SendMesage"),
        (
            {"Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket"]},
            "s3:GetObject does not act on arn:aws:s3:::bucket",
        ),
        ({"Action": ["sqs:SendMessage"], "Resource": ["*"]}, "sqs:SendMessage does not act on *"),
        (
            {"Action": ["ses:GetAccount"], "Resource": [AWS.format("ses", "identity/a")]},
            f"ses:GetAccount acts on *, not on {AWS.format('ses', 'identity/a')}",
        ),
        (
            {
                "Action": ["sqs:SendMessage"],
                "Resource": [AWS.format("sqs", "a")],
                "Condition": {"StringEquals": {"sqs:Colour": "red"}},
            },
            "sqs:SendMessage knows no condition sqs:Colour",
        ),
    ],
)
def test_a_mistake_in_a_policy_is_noticed(graph: Graph, statement: Mapping[str, Any], problem: str) -> None:
    node = graph.one(POLICY, "relay")
    text = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
    wrong = replace(node, inputs={"policy": text})
    assert policies.problems(wrong) == [f"relay: {problem}"]


@pytest.mark.requirement("QG-5")
def test_what_the_relay_may_do(graph: Graph) -> None:
    assert granted(graph, "relay") == {
        AWS.format("rds-db", "dbuser:db-ABC/smtp_proxy_relay"): {"rds-db:connect"},
        AWS.format("elasticache", "replicationgroup:main"): {"elasticache:Connect"},
        AWS.format("elasticache", "user:relay"): {"elasticache:Connect"},
        AWS.format("ecs", "task/prod/*"): {"ecs:UpdateTaskProtection"},
        AWS.format("sqs", "delivery"): {"sqs:SendMessage", "sqs:GetQueueAttributes"},
        "*": {"cloudwatch:GetMetricData"},
        "arn:aws:s3:::bodies/bodies/*": {"s3:PutObject", "s3:AbortMultipartUpload"},
        AWS.format("kms", "key/mail if"): {"kms:GenerateDataKey", "kms:Decrypt"},
        AWS.format("secretsmanager", "secret:credential"): {"secretsmanager:GetSecretValue"},
        AWS.format("secretsmanager", "secret:certificate"): {"secretsmanager:GetSecretValue"},
        AWS.format("kms", "key/secrets if"): {"kms:Decrypt"},
    }


@pytest.mark.requirement("QG-5")
def test_what_a_worker_may_do(graph: Graph) -> None:
    take = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
    send = {"ses:SendEmail", "ses:SendRawEmail"}
    assert granted(graph, "worker") == {
        AWS.format("rds-db", "dbuser:db-ABC/smtp_proxy_worker"): {"rds-db:connect"},
        AWS.format("elasticache", "replicationgroup:main"): {"elasticache:Connect"},
        AWS.format("elasticache", "user:worker"): {"elasticache:Connect"},
        AWS.format("sqs", "delivery"): {"sqs:SendMessage", "sqs:GetQueueAttributes", *take},
        AWS.format("sqs", "dead"): {"sqs:SendMessage"},
        AWS.format("sqs", "events"): take,
        "arn:aws:s3:::bodies/bodies/*": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
        "arn:aws:s3:::bodies": {"s3:ListBucket"},
        "arn:aws:s3:::archive/archive/*": {"s3:PutObject"},
        AWS.format("kms", "key/mail if"): {"kms:GenerateDataKey", "kms:Decrypt"},
        AWS.format("ses", "identity/example.com"): send,
        AWS.format("ses", "configuration-set/mail"): send,
        "*": {"ses:GetAccount"},
        # It seals secrets anew.
        AWS.format("kms", "key/providers"): {"kms:Decrypt", "kms:GenerateDataKey"},
    }


@pytest.mark.requirement("QG-5")
def test_what_the_api_may_do(graph: Graph) -> None:
    assert granted(graph, "api") == {
        AWS.format("rds-db", "dbuser:db-ABC/smtp_proxy_api"): {"rds-db:connect"},
        AWS.format("rds-db", "dbuser:db-DEF/smtp_proxy_api"): {"rds-db:connect"},
        AWS.format("elasticache", "replicationgroup:main"): {"elasticache:Connect"},
        AWS.format("elasticache", "user:api"): {"elasticache:Connect"},
        AWS.format("sqs", "delivery"): {"sqs:SendMessage"},
        AWS.format("sqs", "dead"): {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"},
        "arn:aws:s3:::bodies/bodies/*": {"s3:GetObject", "s3:PutObject"},
        "arn:aws:s3:::bodies": {"s3:ListBucket"},
        AWS.format("kms", "key/mail if"): {"kms:GenerateDataKey", "kms:Decrypt"},
        AWS.format("secretsmanager", "secret:credential"): {"secretsmanager:GetSecretValue"},
        AWS.format("kms", "key/secrets if"): {"kms:Decrypt"},
        AWS.format("kms", "key/providers"): {"kms:GenerateDataKey", "kms:Decrypt"},
        AWS.format("dynamodb", "table/locks if"): {"dynamodb:GetItem"},
    }


def test_the_api_reads_of_the_renewers_table_what_is_for_everybody(graph: Graph) -> None:
    found = policies.statements(document(graph, "api"))
    (statement,) = [each for each in found if "dynamodb:GetItem" in each["Action"]]
    assert statement["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{PREFIX}*"]}}


@pytest.mark.requirement("QG-5")
def test_what_the_console_may_do(graph: Graph) -> None:
    assert granted(graph, "console") == {
        AWS.format("rds-db", "dbuser:db-ABC/smtp_proxy_console"): {"rds-db:connect"},
        AWS.format("rds-db", "dbuser:db-DEF/smtp_proxy_console"): {"rds-db:connect"},
        AWS.format("elasticache", "replicationgroup:main"): {"elasticache:Connect"},
        AWS.format("elasticache", "user:console"): {"elasticache:Connect"},
        AWS.format("sqs", "delivery"): {"sqs:GetQueueAttributes"},
        AWS.format("sqs", "dead"): {"sqs:GetQueueAttributes"},
        AWS.format("secretsmanager", "secret:credential"): {"secretsmanager:GetSecretValue"},
        AWS.format("kms", "key/secrets if"): {"kms:Decrypt"},
    }


@pytest.mark.requirement("QG-5")
def test_what_the_renewer_may_do(graph: Graph) -> None:
    both = {"secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"}
    seal = {"kms:GenerateDataKey", "kms:Decrypt"}
    assert granted(graph, "renewer") == {
        AWS.format("secretsmanager", "secret:certificate"): both,
        AWS.format("secretsmanager", "secret:acme"): both,
        AWS.format("kms", "key/secrets if"): seal,
        AWS.format("dynamodb", "table/locks"): {"dynamodb:GetItem", "dynamodb:PutItem"},
        "arn:aws:s3:::backups/certificates/*": {"s3:PutObject"},
        AWS.format("kms", "key/mail if"): seal,
        "arn:aws:route53:::hostedzone/Z1 if": {"route53:ChangeResourceRecordSets"},
        "arn:aws:route53:::change/*": {"route53:GetChange"},
    }


def test_the_renewer_writes_the_records_of_its_challenges_only(graph: Graph) -> None:
    found = policies.statements(document(graph, "renewer"))
    (statement,) = [each for each in found if "route53:ChangeResourceRecordSets" in each["Action"]]
    assert statement["Condition"] == {
        "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["_acme-challenge.smtp.example.com"],
            "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
            "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
        }
    }


@pytest.mark.requirement("QG-5")
def test_a_key_is_used_by_way_of_the_service_that_keeps_the_data(graph: Graph) -> None:
    ways: dict[tuple[str, str], list[str]] = {}
    for role in permissions.PROCESSES:
        for statement in policies.statements(document(graph, role)):
            for key in ("mail", "secrets"):
                if AWS.format("kms", f"key/{key}") in statement["Resource"]:
                    ways.setdefault((role, key), []).extend(statement["Condition"]["StringEquals"]["kms:ViaService"])
    assert {place: sorted({each.partition(".")[0] for each in found}) for place, found in ways.items()} == {
        ("relay", "mail"): ["s3", "sqs"],
        ("relay", "secrets"): ["secretsmanager"],
        ("worker", "mail"): ["s3", "sqs"],
        ("api", "mail"): ["dynamodb", "s3", "sqs"],
        ("api", "secrets"): ["secretsmanager"],
        ("console", "secrets"): ["secretsmanager"],
        ("renewer", "mail"): ["dynamodb", "s3"],
        ("renewer", "secrets"): ["secretsmanager"],
        ("operator", "mail"): ["sqs"],
        ("operator", "secrets"): ["secretsmanager"],
        ("prepare", "secrets"): ["secretsmanager"],
    }


@pytest.mark.requirement("QG-5")
def test_what_the_operators_command_may_do(graph: Graph) -> None:
    take = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"}
    seal = {"kms:GenerateDataKey", "kms:Decrypt"}
    assert granted(graph, "operator") == {
        AWS.format("rds-db", "dbuser:db-ABC/smtp_proxy_operator"): {"rds-db:connect"},
        AWS.format("elasticache", "replicationgroup:main"): {"elasticache:Connect"},
        AWS.format("elasticache", "user:operator"): {"elasticache:Connect"},
        AWS.format("kms", "key/providers"): {"kms:GenerateDataKey"},
        AWS.format("secretsmanager", "secret:credential"): {"secretsmanager:GetSecretValue"},
        AWS.format("secretsmanager", "secret:smtp-proxy/prod/issued/*"): {
            "secretsmanager:CreateSecret",
            "secretsmanager:PutSecretValue",
        },
        AWS.format("kms", "key/secrets if"): seal,
        AWS.format("sqs", "dead"): take,
        AWS.format("sqs", "delivery"): {"sqs:SendMessage"},
        AWS.format("kms", "key/mail if"): seal,
    }


@pytest.mark.requirement("QG-5")
def test_what_the_migration_task_may_do(graph: Graph, tmp_path: Path) -> None:
    both = {"secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"}
    assert granted(graph, "prepare") == {
        AWS.format("secretsmanager", "secret:credential"): both,
        AWS.format("secretsmanager", "secret:master"): both,
        AWS.format("kms", "key/secrets if"): {"kms:GenerateDataKey", "kms:Decrypt"},
        AWS.format("rds", "db:main"): {"rds:ModifyDBInstance"},
    }
    # RDS manages the password there.
    assert granted(declare(tmp_path / "dev", BODY, stack="dev"), "prepare") == {
        AWS.format("secretsmanager", "secret:credential"): both,
        AWS.format("secretsmanager", "secret:master"): {"secretsmanager:GetSecretValue"},
    }


def test_only_the_migration_task_reads_the_password_of_the_database(graph: Graph) -> None:
    readers = [role for role in permissions.PROCESSES if "secret:master" in document(graph, role)]
    assert readers == ["prepare"]


def test_without_keys_of_its_own_a_stack_grants_none(tmp_path: Path) -> None:
    graph = declare(tmp_path / "dev", BODY, stack="dev")
    for role in permissions.PROCESSES:
        assert "ViaService" not in document(graph, role)
        assert policies.actions(document(graph, role)) != set()
    assert "configuration-set" not in document(graph, "worker")


@pytest.mark.requirement("ECS-014")
def test_what_a_shell_needs(graph: Graph) -> None:
    assert granted(graph, "shell") == {
        "*": {
            "ssmmessages:CreateControlChannel",
            "ssmmessages:CreateDataChannel",
            "ssmmessages:OpenControlChannel",
            "ssmmessages:OpenDataChannel",
            "logs:DescribeLogGroups",
        },
        AWS.format("logs", "log-group:exec:*"): {
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        },
        AWS.format("kms", "key/exec"): {"kms:Decrypt"},
    }
    assert AWS.format("kms", "key/exec") not in granted(graph, "keyless")


@pytest.mark.requirement("QG-5")
def test_only_ecs_for_our_tasks_takes_a_role(graph: Graph) -> None:
    roles = graph.of_type("aws:iam/role:Role")
    assert len(roles) == 9
    for role in roles:
        assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ecs-tasks.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": "123456789012"},
                    "ArnLike": {"aws:SourceArn": ["arn:aws:ecs:us-east-1:123456789012:*"]},
                },
            }
        ]


def test_the_contract(graph: Graph) -> None:
    assert [problem for check in contract.ALL for problem in check(graph)] == []
