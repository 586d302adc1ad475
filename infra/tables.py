"""A DynamoDB table of things that are written once and forgotten after a while (FLOW-INFRA-003)."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

KEY = "id"
EXPIRES = "expires"


@dataclass(frozen=True, kw_only=True)
class TableArgs:
    """Whether AWS refuses to delete it; without a key DynamoDB encrypts with its own."""

    protect: bool
    key_arn: Input[str] | None = None


class Table(pulumi.ComponentResource):
    """Declares a table with the text key `id`, whose items end at the Unix time in `expires`.

    It is paid by request and can be restored to any second of the last 35 days. Who may read or write is said by IAM
    roles.
    """

    name: Output[str]
    arn: Output[str]

    def __init__(self, name: str, args: TableArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:tables:Table", name, None, opts)
        table = aws.dynamodb.Table(
            name,
            attributes=[{"name": KEY, "type": "S"}],
            hash_key=KEY,
            billing_mode="PAY_PER_REQUEST",
            ttl={"attribute_name": EXPIRES, "enabled": True},
            point_in_time_recovery={"enabled": True},
            # Switched off, DynamoDB still encrypts, with a key that it owns.
            server_side_encryption={"enabled": args.key_arn is not None, "kms_key_arn": args.key_arn},
            deletion_protection_enabled=args.protect,
            opts=ResourceOptions(parent=self),
        )
        self.name, self.arn = table.name, table.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
