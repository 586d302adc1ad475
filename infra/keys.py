"""A KMS key of the stack's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import iam, names

# Not kms:CreateGrant: a grant would get round the services a key is bound to.
_ADMINISTER = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:Describe*",
    "kms:Disable*",
    "kms:Enable*",
    "kms:Get*",
    "kms:List*",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:Update*",
]
_USE = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]


@dataclass(frozen=True, kw_only=True)
class KeyArgs:
    """What a key is for, and the services it works through; none means the callers use it themselves."""

    description: str
    deletion_days: int
    services: Sequence[str] = ()


class Key(pulumi.ComponentResource):
    """Declares the key, its policy and its alias; grants nobody anything: who may use it is said by IAM roles."""

    arn: Output[str]
    alias: Output[str]

    def __init__(self, name: str, args: KeyArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:keys:Key", name, None, opts)
        child = ResourceOptions(parent=self)

        key = aws.kms.Key(
            name,
            description=args.description,
            deletion_window_in_days=args.deletion_days,
            enable_key_rotation=True,
            opts=child,
        )
        # The policy names the account, which only the finished key knows; until then AWS's default policy holds.
        policy = aws.kms.KeyPolicy(name, key_id=key.key_id, policy=self._policy(key, args.services), opts=child)
        alias = aws.kms.Alias(
            name,
            name=f"alias/{names.fit(name, names.ALIAS_LIMIT)}",
            target_key_id=key.key_id,
            opts=ResourceOptions.merge(child, ResourceOptions(depends_on=[policy])),
        )

        self.arn, self.alias = key.arn, alias.name
        self.register_outputs({"arn": self.arn, "alias": self.alias})

    @staticmethod
    def _policy(key: aws.kms.Key, services: Sequence[str]) -> Output[str]:
        account = {"AWS": iam.account_root(key.arn)}
        through: Mapping[str, object] = {"StringEquals": {"kms:ViaService": list(services)}}
        use = {"Sid": "Use", "Effect": "Allow", "Principal": account, "Action": _USE, "Resource": "*"}
        return iam.document(
            {"Sid": "Administer", "Effect": "Allow", "Principal": account, "Action": _ADMINISTER, "Resource": "*"},
            {**use, "Condition": through} if services else use,
        )
