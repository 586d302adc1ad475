"""What tasks of the real stack may do: their grants, on what the stack has, and nothing beside them."""

import pytest

from infra.environment import USERS
from infra.graph import Graph, Node
from infra.project import ROOT
from infra.settings import Role
from tests.infra import permissions, policies
from tests.infra.permissions import Permissions
from tests.infra.programs import declare
from tests.infra.test_grants import BODY, POLICY, UNUSED, allowed, granted

ROLES: tuple[Role, ...] = ("relay", "worker", "api", "console", "renewer", "operator", "prepare")
# RDS manages the master password where there is no read replica.
WITHOUT_REPLICA = {"prepare": {"rds:ModifyDBInstance"}}
# Developers may look into tasks (ECS-014).
SHELL = {
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "logs:CreateLogStream",
    "logs:DescribeLogGroups",
    "logs:DescribeLogStreams",
    "logs:PutLogEvents",
    "kms:Decrypt",
}
# What the stack has, for each of what the sample's grants name.
REAL = {
    ":us-east-1:123456789012:": ":${region}:${account}:",
    "db-ABC/smtp_proxy_": "${smtp-proxy-prod-database.resource_id}/",
    ":replicationgroup:main": ":${smtp-proxy-prod-cache.arn}",
    ":task/prod/*": ":${smtp-proxy-prod.arn}/*",
    ":delivery": ":${smtp-proxy-prod-delivery.arn}",
    ":dead": ":${smtp-proxy-prod-delivery-dead.arn}",
    ":events": ":${smtp-proxy-prod-events.arn}",
    ":::bodies": ":::${smtp-proxy-prod-mail.arn}",
    ":::archive": ":::${smtp-proxy-prod-mail.arn}",
    ":::backups": ":::${smtp-proxy-prod-backups.arn}",
    ":secret:certificate": ":${smtp-proxy-prod-certificate.arn}",
    ":secret:credential": ":${smtp-proxy-prod-credential-key.arn}",
    ":secret:acme": ":${smtp-proxy-prod-acme-account.arn}",
    "arn:aws:secretsmanager:${region}:${account}:secret:master": "${smtp-proxy-prod-database.master_secret_arn}",
    ":table/locks": ":${smtp-proxy-prod-once.arn}",
    ":hostedzone/Z1": ":hostedzone/${smtp-proxy-prod-zone.zone_id}",
    ":key/mail": ":${smtp-proxy-prod-data.arn}",
    ":key/secrets": ":${smtp-proxy-prod-secrets.arn}",
    ":key/providers": ":${smtp-proxy-prod-secrets.arn}",
    ":identity/example.com": ":${smtp-proxy-prod-ses-mail.example.com.arn}",
    ":configuration-set/mail": ":${smtp-proxy-prod-ses.arn}",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("grants") / "stack", BODY.replace("master_is_ours=True,", ""))


def real(resource: str, role: Role) -> str:
    """The real stack's resource for one of the sample's."""
    if role in USERS:
        resource = resource.replace(f"smtp_proxy_{role}", f"smtp_proxy_{USERS[role]}")
        resource = resource.replace(f":user:{role}", f":${{smtp-proxy-prod-cache-{USERS[role]}.arn}}")
    for named, found in REAL.items():
        resource = resource.replace(named, found)
    return resource


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_its_grants_say_on_what_the_stack_has(sample: Graph, prod: Graph, role: Role) -> None:
    expected: dict[str, set[str]] = {}
    # The sample has a read replica, and the stack has none.
    granted_here = {resource: did for resource, did in granted(sample, role).items() if "db-DEF" not in resource}
    for resource, actions in granted_here.items():
        expected.setdefault(real(resource, role), set()).update(actions)
    assert allowed(str(own(prod, role).inputs["policy"])) == expected


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("process", permissions.processes(ROOT))
def test_a_role_may_do_what_the_code_of_its_task_does(stack: Graph, code: Permissions, process: Role) -> None:
    text = str(own(stack, process).inputs["policy"])
    unused = UNUSED.get(process, set()) | WITHOUT_REPLICA.get(process, set())
    shells = SHELL if stack.stack == "dev" else set[str]()
    assert policies.actions(text) == code.of(process) - unused | shells


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("role", ROLES)
def test_a_task_has_one_role_and_that_role_one_policy(stack: Graph, role: Role) -> None:
    task = stack.one("aws:ecs/taskDefinition:TaskDefinition", f"smtp-proxy-{stack.stack}-{role}")
    (urn,) = task.references["taskRoleArn"]
    (node,) = [each for each in stack.of_type("aws:iam/role:Role") if each.urn == urn]
    assert not node.inputs.keys() & {"managedPolicyArns", "inlinePolicies"}
    allowing = [each for each in stack.resources if each.type.startswith("aws:iam/") and urn in uses(each)]
    assert [each.urn for each in allowing] == [own(stack, role).urn]


def own(graph: Graph, role: Role) -> Node:
    """The policy of a task's role; what starts the renewer has a role of the same name."""
    (component,) = [
        node for node in graph.of_type("smtp-proxy:roles:TaskRole") if node.name == f"smtp-proxy-{graph.stack}-{role}"
    ]
    (found,) = [node for node in graph.children(component.urn) if node.type == POLICY]
    return found


def uses(node: Node) -> set[str]:
    """The resources whose values a node is made of as a role."""
    return {urn for key in ("role", "roles") for urn in node.references.get(key, ())}
