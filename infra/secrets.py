"""An entry of Secrets Manager, which the program makes and never fills (ECS-010)."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam


@dataclass(frozen=True, kw_only=True)
class SecretArgs:
    """A secret's name, and how long its deletion can be taken back."""

    path: str
    """The whole name, such as smtp-proxy/prod/credential-key: people and other programs use it."""
    description: str
    key_arn: Input[str]
    recovery_days: int
    """7 to 30; 0 deletes at once, so that the name is free again."""


class Secret(pulumi.ComponentResource):
    """Declares a secret and who is refused; no value, which would be in the state of the stack.

    The value is put by `python -m backing prepare`, the renewer or an operator; who may do so is said by IAM roles.
    """

    arn: Output[str]
    name: Output[str]

    def __init__(self, name: str, args: SecretArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:secrets:Secret", name, None, opts)
        child = ResourceOptions(parent=self)
        secret = aws.secretsmanager.Secret(
            name,
            name=args.path,
            description=args.description,
            kms_key_id=args.key_arn,
            recovery_window_in_days=args.recovery_days,
            opts=child,
        )
        aws.secretsmanager.SecretPolicy(
            name,
            secret_arn=secret.arn,
            policy=iam.document(
                iam.tls_only("secretsmanager:*", [secret.arn]),
                iam.own_account_only("secretsmanager:*", [secret.arn], iam.account(secret.arn)),
            ),
            block_public_policy=True,
            opts=child,
        )
        self.arn, self.name = secret.arn, secret.name
        self.register_outputs({"arn": self.arn, "name": self.name})
