"""Least privilege, and services that act for others (QG-5)."""

import re
from collections.abc import Iterator
from typing import Final

from infra.policy import kinds
from infra.policy.documents import Statement, allowed, condition_keys
from infra.policy.model import Resource, Rule, World
from infra.values import mapping, nested, principals, texts

# AWS: "Actions, resources, and condition keys": these name no resource, or one that has no name before they are called.
WITHOUT_RESOURCE: Final = frozenset(
    {
        "application-autoscaling:DescribeScalableTargets",
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "cloudwatch:GetMetricStatistics",
        "cloudwatch:ListMetrics",
        "cloudwatch:PutMetricData",
        "ec2:DescribeNetworkInterfaces",
        "ecr:GetAuthorizationToken",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "ecs:ListTasks",
        "logs:DescribeLogGroups",
        "route53:ListHostedZones",
        "route53:ListHostedZonesByName",
        "ses:GetAccount",
        "ses:GetSendQuota",
        "ses:GetSuppressedDestination",
        "ses:ListEmailIdentities",
        "sqs:ListQueues",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
        "sts:GetCallerIdentity",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    }
)
# Groups of actions that KMS itself documents with a star: with and without plaintext, of keys and of key pairs.
ACTION_GROUPS: Final = frozenset({"kms:GenerateDataKey*", "kms:ReEncrypt*"})
# Policies of AWS's own that a role may be given.
MANAGED: Final = frozenset(
    {
        "AWSCodeDeployRoleForECS",
        "AmazonECSInfrastructureRolePolicyForLoadBalancers",
        "AmazonECSTaskExecutionRolePolicy",
        "AmazonRDSEnhancedMonitoringRole",
    }
)
# AWS's documentation of these names no source for a trust policy to look at.
SOURCELESS: Final = frozenset({"ecs.amazonaws.com"})
_SOURCE: Final = frozenset(
    {
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "kms:viaservice",
        "kms:calleraccount",
        "kms:encryptioncontext:aws:logs:arn",
        "kms:encryptioncontext:aws:sns:topicarn",
        "kms:encryptioncontext:aws:sqs:arn",
        "kms:encryptioncontext:aws:s3:arn",
    }
)
# What gives other rights than one's own.
_ADMINISTERS: Final = re.compile(r"iam:(Create|Put|Attach|Update|Add|Set|Delete|Detach|Remove).*|organizations:.*")
_ROLE_DOCUMENTS: Final = (kinds.ROLE_POLICY, kinds.IAM_POLICY)
_OWN_ACCOUNT: Final = re.compile(r"arn:(aws[a-z-]*|\$\{[^}]*\}):iam::(\d{12}|\$\{[^}]*\}):root")


def _label(statement: Statement) -> str:
    return str(statement.get("Sid") or ", ".join(texts(statement.get("Action"))))


def _action_stars(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        yield from (
            action for action in texts(statement.get("Action")) if "*" in action and action not in ACTION_GROUPS
        )


def _resource_stars(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        if "*" in texts(statement.get("Resource")):
            yield from (action for action in texts(statement.get("Action")) if action not in WITHOUT_RESOURCE)


def _inverted(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        yield from (key for key in ("NotAction", "NotResource", "NotPrincipal") if key in statement)


def _administers(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        yield from (action for action in texts(statement.get("Action")) if _ADMINISTERS.fullmatch(action))


def _passes_any(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        if "iam:PassRole" not in texts(statement.get("Action")):
            continue
        if "iam:passedtoservice" not in set(condition_keys(statement)) or "*" in texts(statement.get("Resource")):
            yield _label(statement)


def _trusts_everybody(role: Resource, _world: World) -> Iterator[str]:
    yield from (
        _label(statement) for statement in allowed(role, "assumeRolePolicy") if "*" in principals(statement, "AWS")
    )


def _confused_trust(role: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(role, "assumeRolePolicy"):
        services = [name for name in _services(statement) if name not in SOURCELESS]
        if services and not _SOURCE & set(condition_keys(statement)):
            yield ", ".join(services)


def _confused_policy(policy: Resource, _world: World) -> Iterator[str]:
    for statement in allowed(policy):
        services = _services(statement)
        if services and not _SOURCE & set(condition_keys(statement)):
            yield ", ".join(services)


def _services(statement: Statement) -> list[str]:
    return texts(mapping(statement.get("Principal")).get("Service"))


def _strangers(policy: Resource, _world: World) -> Iterator[str]:
    """A key belongs to its account, and to services with a source; only AWS's own may be granted its use."""
    for statement in allowed(policy):
        yield from (name for name in principals(statement, "AWS") if not _OWN_ACCOUNT.fullmatch(name))
        for_services = nested(statement, "Condition", "Bool", "kms:GrantIsForAWSResource") == "true"
        refused = {"kms:*", "*"} if for_services and not _services(statement) else {"kms:*", "*", "kms:CreateGrant"}
        yield from (action for action in texts(statement.get("Action")) if action in refused)


def _managed(attachment: Resource, world: World) -> Iterator[str]:
    if world.pointed(attachment, "policyArn", kinds.IAM_POLICY):
        return
    name = str(attachment.get("policyArn")).rpartition("/")[2]
    if name not in MANAGED:
        yield name


def _is_user(_resource: Resource, _world: World) -> Iterator[str]:
    yield ""


RULES: Final = (
    Rule(
        name="iam-action-wildcard",
        severity="high",
        kinds=_ROLE_DOCUMENTS,
        message="actions are named by a wildcard",
        remedy="Name each action that the code calls.",
        check=_action_stars,
    ),
    Rule(
        name="iam-resource-wildcard",
        severity="high",
        kinds=_ROLE_DOCUMENTS,
        message="an action that can name its resource is allowed on every one",
        remedy="Name the ARN; only actions that have no resource may have *.",
        check=_resource_stars,
    ),
    Rule(
        name="iam-inverted",
        severity="high",
        kinds=(*_ROLE_DOCUMENTS, *kinds.RESOURCE_POLICIES),
        message="the policy allows all but something",
        remedy="Say what is allowed with Action, Resource and Principal.",
        check=_inverted,
    ),
    Rule(
        name="iam-administers",
        severity="high",
        kinds=_ROLE_DOCUMENTS,
        message="the role could give itself rights",
        remedy="Leave the change of roles and policies to Pulumi.",
        check=_administers,
    ),
    Rule(
        name="iam-pass-role",
        severity="high",
        kinds=_ROLE_DOCUMENTS,
        message="roles may be passed to any service, or any role may be passed",
        remedy="Name the roles and add a condition on iam:PassedToService.",
        check=_passes_any,
    ),
    Rule(
        name="iam-managed-policy",
        severity="high",
        kinds=(kinds.POLICY_ATTACHMENT,),
        message="AWS's own policy allows more than is needed",
        remedy=f"Write the statements out; only {', '.join(sorted(MANAGED))} may be attached.",
        check=_managed,
        whole=True,
    ),
    Rule(
        name="iam-no-users",
        severity="high",
        kinds=kinds.IAM_USERS,
        message="users have keys that last",
        remedy="Let tasks take roles, and people come through single sign-on.",
        check=_is_user,
    ),
    Rule(
        name="trust-everybody",
        severity="high",
        kinds=(kinds.ROLE,),
        message="everybody may take the role",
        remedy="Name the service or account.",
        check=_trusts_everybody,
    ),
    Rule(
        name="trust-confused-deputy",
        severity="medium",
        kinds=(kinds.ROLE,),
        message="a service may take the role for another account",
        remedy="Add a condition on aws:SourceAccount or aws:SourceArn to the trust policy.",
        check=_confused_trust,
    ),
    Rule(
        name="policy-confused-deputy",
        severity="medium",
        kinds=kinds.RESOURCE_POLICIES,
        message="a service may come for another account",
        remedy="Add a condition on aws:SourceAccount or aws:SourceArn; for keys also kms:ViaService.",
        check=_confused_policy,
    ),
    Rule(
        name="key-strangers",
        severity="high",
        kinds=(kinds.KEY_POLICY,),
        message="the key is open to more than its account, or to more than its use",
        remedy="Allow the account's root and services with a source; no kms:*; kms:CreateGrant for AWS resources only.",
        check=_strangers,
    ),
)
