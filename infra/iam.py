"""Policy documents as values; nothing here creates a resource."""

from collections.abc import Callable, Mapping, Sequence

from pulumi import Input, Output

Statement = Mapping[str, object]
StatementFor = Callable[[Output[str]], Statement]
"""Makes a statement about a resource, given its ARN; for policies of resources that only exist then."""


def document(*statements: Statement) -> Output[str]:
    """Returns the policy that consists of the statements."""
    return Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def tls_only(action: str, resources: Sequence[Input[str]]) -> Statement:
    """Returns the statement that refuses whoever comes without TLS."""
    return {
        "Sid": "RefusePlaintext",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def own_account_only(action: str, resources: Sequence[Input[str]], account_id: Input[str]) -> Statement:
    """Returns the statement that refuses identities of other accounts, whatever else a policy may say."""
    return {
        "Sid": "RefuseStrangers",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": {
            "StringNotEquals": {"aws:PrincipalAccount": account_id},
            "Bool": {"aws:PrincipalIsAWSService": "false"},
        },
    }


def service_may(
    service: str,
    actions: Sequence[str],
    *,
    sid: str,
    account_id: Input[str] | None = None,
    source_arn: Input[str] | None = None,
    below: Input[str] = "",
) -> StatementFor:
    """Returns what lets an AWS service in, but only for this account and, where it is named, this source.

    Without the conditions anybody could have the service act for them (AWS: "The confused deputy problem").

    Args:
        service: its principal, such as events.amazonaws.com.
        actions: what it may do.
        sid: a name for the statement, unlike others of the policy.
        account_id: the stack's account; without it, that of the resource's ARN. The ARNs of buckets have none.
        source_arn: the resource the service acts for; `*` may stand in it.
        below: what follows the resource's ARN, such as /raw/*.
    """

    def statement(arn: Output[str]) -> Statement:
        condition: dict[str, object] = {"StringEquals": {"aws:SourceAccount": account_id or account(arn)}}
        if source_arn is not None:
            condition["ArnLike"] = {"aws:SourceArn": source_arn}
        return {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": list(actions),
            "Resource": Output.concat(arn, below),
            "Condition": condition,
        }

    return statement


def account_root(arn: Output[str]) -> Output[str]:
    """Returns the principal that stands for every identity of the account the resource lives in."""
    return arn.apply(lambda value: "arn:{1}:iam::{4}:root".format(*value.split(":")))


def account(arn: Input[str]) -> Output[str]:
    """Returns the number of the account that the resource lives in. The ARNs of buckets and zones have none."""
    return Output.from_input(arn).apply(lambda value: value.split(":")[4])


def beside(anchor: Output[str], service: str, resource: Input[str]) -> Output[str]:
    """Returns the ARN of what another service has in the account and region that the anchor, an ARN, lives in."""
    return Output.all(anchor, resource).apply(lambda both: _beside(both[0], service, both[1]))


def trust(service: str, anchor: Output[str], sources: Sequence[Input[str]]) -> Output[str]:
    """Returns the document that lets a service take a role on behalf of resources of ours and of nobody else.

    Without these conditions the service could be talked into using the role for another account's resources. AWS:
    "The confused deputy problem".

    Args:
        service: such as ecs-tasks.amazonaws.com.
        anchor: ARN of anything in our account.
        sources: ARNs, with wildcards, of what the service acts for.
    """
    own = {"StringEquals": {"aws:SourceAccount": account(anchor)}, "ArnLike": {"aws:SourceArn": list(sources)}}
    return document(assumed_by(service, own))


def assumed_by(service: str, condition: Mapping[str, object] | None = None) -> Mapping[str, object]:
    """Returns the statement that lets an AWS service take on a role, where the service allows it on a condition."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {**statement, "Condition": condition} if condition else statement


def allow(
    actions: Sequence[str], resources: Sequence[Input[str]], condition: Mapping[str, object] | None = None
) -> Mapping[str, object]:
    """Returns the statement that allows actions on resources."""
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**statement, "Condition": condition} if condition else statement


def _beside(anchor: str, service: str, resource: str) -> str:
    _, partition, _, region, number, *_ = anchor.split(":")
    return f"arn:{partition}:{service}:{region}:{number}:{resource}"
