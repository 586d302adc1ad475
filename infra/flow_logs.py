"""A record of who connected to whom in a VPC."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam

# AWS: "IAM role for publishing flow logs to CloudWatch Logs", less the right to make the group, which is made here.
_WRITE = ["logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"]


@dataclass(frozen=True, kw_only=True)
class FlowLogsArgs:
    """What is recorded and how long it is kept; without a key CloudWatch Logs encrypts with its own."""

    region: str
    vpc_id: Output[str]
    vpc_arn: Output[str]
    days: int
    key_arn: Input[str] | None


class FlowLogs(pulumi.ComponentResource):
    """Declares the flow log, its log group and the role that writes there; not the key."""

    group_name: Output[str]

    def __init__(self, name: str, args: FlowLogsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:flow_logs:FlowLogs", name, None, opts)
        child = ResourceOptions(parent=self)

        group = aws.cloudwatch.LogGroup(name, retention_in_days=args.days, kms_key_id=args.key_arn, opts=child)
        role = aws.iam.Role(
            name,
            description="Writes the flow log of the VPC",
            assume_role_policy=self._trust(args.region, args.vpc_arn),
            opts=child,
        )
        policy = aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=iam.document(
                {
                    "Sid": "Write",
                    "Effect": "Allow",
                    "Action": _WRITE,
                    "Resource": [group.arn, Output.concat(group.arn, ":*")],
                }
            ),
            opts=child,
        )
        aws.ec2.FlowLog(
            name,
            vpc_id=args.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags={"Name": name},
            opts=ResourceOptions.merge(child, ResourceOptions(depends_on=[policy])),
        )

        self.group_name = group.name
        self.register_outputs({"group_name": self.group_name})

    @staticmethod
    def _trust(region: str, vpc_arn: Output[str]) -> Output[str]:
        account = iam.account(vpc_arn)
        # Only for flow logs of this account and region, or another account could have the service write here.
        return iam.document(
            {
                "Effect": "Allow",
                "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {
                    "StringEquals": {"aws:SourceAccount": account},
                    "ArnLike": {
                        "aws:SourceArn": Output.concat("arn:aws:ec2:", region, ":", account, ":vpc-flow-log/*")
                    },
                },
            }
        )
