"""Policy documents as values; nothing here creates a resource."""

from collections.abc import Mapping, Sequence

from pulumi import Input, Output


def document(*statements: Mapping[str, object]) -> Output[str]:
    """Returns the policy that consists of the statements."""
    return Output.json_dumps({"Version": "2012-10-17", "Statement": list(statements)})


def tls_only(action: str, resources: Sequence[Input[str]]) -> Mapping[str, object]:
    """Returns the statement that refuses whoever comes without TLS."""
    return {
        "Sid": "RefusePlaintext",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def account_root(arn: Output[str]) -> Output[str]:
    """Returns the principal that stands for every identity of the account the resource lives in."""
    return arn.apply(lambda value: "arn:{1}:iam::{4}:root".format(*value.split(":")))
