"""Who may do what: the statements of every role, and whom AWS lets take it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from infra.graph import Graph, Node
from infra.values import mapping, principals, sequence, statements, texts

ROLE: Final = "aws:iam/role:Role"
ROLE_POLICY: Final = "aws:iam/rolePolicy:RolePolicy"
POLICY: Final = "aws:iam/policy:Policy"
ATTACHMENT: Final = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"

_TOKEN: Final = re.compile(r"\$\{([^}]+)\.[a-z_0-9]+\}")


@dataclass(frozen=True, kw_only=True, order=True)
class Permission:
    """One statement of a role, with the lists of AWS as sorted tuples."""

    role: str
    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: str


def trusted(role: Node) -> tuple[str, ...]:
    """Returns the services and accounts that may take a role."""
    found = [who for statement in statements(role.inputs.get("assumeRolePolicy")) for who in principals(statement)]
    return tuple(sorted(set(found)))


def permissions(graph: Graph) -> tuple[Permission, ...]:
    """Returns every role's statements; a policy of AWS's own stands for itself."""
    found = [permission for role in graph.of_type(ROLE) for permission in _of_role(graph, role)]
    return tuple(sorted(found))


def plain(arn: str) -> str:
    """Shortens an ARN to the service and the name, tokens to the name of what they come from."""
    named = _TOKEN.sub(r"\1", arn)
    parts = named.split(":", 5)
    return named if len(parts) < 6 else f"{parts[2]} {parts[5]}"  # noqa: PLR2004 - an ARN has six parts


def _of_role(graph: Graph, role: Node) -> Iterator[Permission]:
    for policy in graph.of_type(ROLE_POLICY):
        if role.urn in policy.references.get("role", ()):
            yield from _stated(role, policy.inputs.get("policy"))
    for inline in sequence(role.inputs.get("inlinePolicies")):
        yield from _stated(role, mapping(inline).get("policy"))
    own = {policy.urn: policy for policy in graph.of_type(POLICY)}
    for attachment in graph.of_type(ATTACHMENT):
        if role.urn not in attachment.references.get("role", ()):
            continue
        named = [own[urn] for urn in attachment.references.get("policyArn", ()) if urn in own]
        for policy in named:
            yield from _stated(role, policy.inputs.get("policy"))
        if not named:
            arn = str(attachment.inputs["policyArn"])
            yield Permission(
                role=role.name,
                effect="Allow",
                actions=(f"as {arn.rpartition('/')[2]} says",),
                resources=("*",),
                conditions="",
            )


def _stated(role: Node, document: Any) -> Iterator[Permission]:
    for statement in statements(document):
        condition = statement.get("Condition")
        yield Permission(
            role=role.name,
            effect=statement["Effect"],
            actions=tuple(sorted(texts(statement.get("Action", statement.get("NotAction"))))),
            resources=tuple(sorted(plain(arn) for arn in texts(statement.get("Resource")))),
            conditions=json.dumps(condition, sort_keys=True) if condition else "",
        )
