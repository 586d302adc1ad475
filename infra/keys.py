"""A KMS key of the stack's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra import iam, names
from infra.iam import Statement, StatementFor

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
    """As `via` names them."""
    granting: Sequence[str] = ()
    """Those of the services that keep using the key by a grant, as RDS, ElastiCache and DynamoDB do."""
    statements: Sequence[StatementFor] = ()
    """What AWS's own services may do with it, such as `for_logs` and `for_publishers`."""


def via(region: str, *services: str) -> list[str]:
    """Returns services as kms:ViaService knows them, such as sqs.eu-west-1.amazonaws.com."""
    return [f"{service}.{region}.amazonaws.com" for service in services]


def for_logs(region: str, groups: str) -> StatementFor:
    """Returns what lets CloudWatch Logs encrypt log groups of this account.

    Args:
        region: the stack's.
        groups: their names; `*` may stand in it.

    Source: AWS, "Encrypt log data in CloudWatch Logs using AWS KMS".
    """

    def statement(key_arn: Output[str]) -> Statement:
        arn = key_arn.apply(lambda value: "arn:{1}:logs:{3}:{4}:log-group:".format(*value.split(":")))
        return {
            "Sid": "Logs",
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{region}.amazonaws.com"},
            "Action": [*_USE, "kms:DescribeKey"],
            "Resource": "*",
            "Condition": {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": Output.concat(arn, groups)}},
        }

    return statement


def for_publishers(*services: str) -> StatementFor:
    """Returns what lets services publish to topics that the key encrypts, for this account only.

    Args:
        services: principals such as cloudwatch.amazonaws.com, events.amazonaws.com, budgets.amazonaws.com.

    Source: AWS, "Enable compatibility between event sources from AWS services and encrypted topics".
    """

    def statement(key_arn: Output[str]) -> Statement:
        return {
            "Sid": "Publishers",
            "Effect": "Allow",
            "Principal": {"Service": list(services)},
            "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:SourceAccount": iam.account(key_arn)}},
        }

    return statement


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
        policy = aws.kms.KeyPolicy(name, key_id=key.key_id, policy=_policy(key.arn, args), opts=child)
        alias = aws.kms.Alias(
            name,
            name=f"alias/{names.fit(name, names.ALIAS_LIMIT)}",
            target_key_id=key.key_id,
            opts=ResourceOptions.merge(child, ResourceOptions(depends_on=[policy])),
        )

        self.arn, self.alias = key.arn, alias.name
        self.register_outputs({"arn": self.arn, "alias": self.alias})


def _policy(key_arn: Output[str], args: KeyArgs) -> Output[str]:
    own = {"Effect": "Allow", "Principal": {"AWS": iam.account_root(key_arn)}, "Resource": "*"}
    use: Statement = {"Sid": "Use", "Action": _USE, **own}
    statements: list[Statement] = [{"Sid": "Administer", "Action": _ADMINISTER, **own}]
    statements.append({**use, "Condition": _through(args.services)} if args.services else use)
    if args.granting:
        # The service makes the grant for whoever asks it to; nobody can make one for an identity.
        condition = {**_through(args.granting), "Bool": {"kms:GrantIsForAWSResource": "true"}}
        statements.append({"Sid": "Grant", "Action": ["kms:CreateGrant"], **own, "Condition": condition})
    return iam.document(*statements, *(statement(key_arn) for statement in args.statements))


def _through(services: Sequence[str]) -> Mapping[str, object]:
    return {"StringEquals": {"kms:ViaService": list(services)}}
