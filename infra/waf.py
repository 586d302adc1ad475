"""AWS WAF in front of the HTTP balancer: a net for what no real client sends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

# By priority. AWS: "AWS Managed Rules rule groups list".
MANAGED_GROUPS: Final = (
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesCommonRuleSet",
)
# A message that an application hands to the API is larger than 8 KiB and may well hold HTML: these only count.
COUNTED_RULES: Final[Mapping[str, Sequence[str]]] = {
    "AWSManagedRulesCommonRuleSet": ("SizeRestrictions_BODY", "CrossSiteScripting_BODY"),
}
REQUESTS_PER_WINDOW: Final = 10_000
WINDOW_SECONDS: Final = 300
_SECRET_HEADERS: Final = ("authorization", "cookie", "x-api-key")


@dataclass(frozen=True, kw_only=True)
class FirewallLog:
    """How long WAF's log is kept, and the key it is encrypted with."""

    days: int
    key_arn: Input[str] | None = None


@dataclass(frozen=True, kw_only=True)
class WafArgs:
    """What is protected, how often one address may come in five minutes, and the log of what was refused, if any."""

    balancer_arn: Input[str]
    requests_per_window: int = REQUESTS_PER_WINDOW
    log: FirewallLog | None = None


class Waf(pulumi.ComponentResource):
    """Declares the access list, its place before the balancer, and its log. Who may call what is the API's business."""

    arn: Output[str]
    name: Output[str]

    def __init__(self, name: str, args: WafArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:waf:Waf", name, None, opts)
        child = ResourceOptions(parent=self)

        acl = aws.wafv2.WebAcl(
            name,
            scope="REGIONAL",
            default_action={"allow": {}},
            rules=[
                self._rate(args.requests_per_window),
                *(self._managed(group, priority) for priority, group in enumerate(MANAGED_GROUPS, start=1)),
            ],
            visibility_config=self._visible("all"),
            opts=child,
        )
        aws.wafv2.WebAclAssociation(name, web_acl_arn=acl.arn, resource_arn=args.balancer_arn, opts=child)
        if args.log is not None:
            self._log(name, acl, args.log, child)

        self.arn, self.name = acl.arn, acl.name
        self.register_outputs({"arn": self.arn, "name": self.name})

    @classmethod
    def _rate(cls, limit: int) -> "aws.wafv2.WebAclRuleArgsDict":
        return {
            "name": "rate",
            "priority": 0,
            "action": {"block": {"custom_response": {"response_code": 429}}},
            "statement": {
                "rate_based_statement": {
                    "aggregate_key_type": "IP",
                    "limit": limit,
                    "evaluation_window_sec": WINDOW_SECONDS,
                }
            },
            "visibility_config": cls._visible("rate"),
        }

    @classmethod
    def _managed(cls, group: str, priority: int) -> "aws.wafv2.WebAclRuleArgsDict":
        return {
            "name": group,
            "priority": priority,
            "override_action": {"none": {}},
            "statement": {
                "managed_rule_group_statement": {
                    "vendor_name": "AWS",
                    "name": group,
                    "rule_action_overrides": [
                        {"name": rule, "action_to_use": {"count": {}}} for rule in COUNTED_RULES.get(group, ())
                    ],
                }
            },
            "visibility_config": cls._visible(group),
        }

    @staticmethod
    def _visible(metric: str) -> "aws.wafv2.WebAclRuleVisibilityConfigArgsDict":
        # A sampled request is shown with all its headers, credentials among them.
        return {"cloudwatch_metrics_enabled": True, "metric_name": metric, "sampled_requests_enabled": False}

    @staticmethod
    def _log(name: str, acl: aws.wafv2.WebAcl, log: FirewallLog, opts: ResourceOptions) -> None:
        # WAF writes only to groups whose names begin so.
        group = aws.cloudwatch.LogGroup(
            name, name=f"aws-waf-logs-{name}", retention_in_days=log.days, kms_key_id=log.key_arn, opts=opts
        )
        aws.wafv2.WebAclLoggingConfiguration(
            name,
            resource_arn=acl.arn,
            log_destination_configs=[group.arn],
            redacted_fields=[{"single_header": {"name": header}} for header in _SECRET_HEADERS],
            logging_filter={
                "default_behavior": "DROP",
                "filters": [
                    {
                        "behavior": "KEEP",
                        "requirement": "MEETS_ANY",
                        "conditions": [
                            {"action_condition": {"action": "BLOCK"}},
                            {"action_condition": {"action": "COUNT"}},
                        ],
                    }
                ],
            },
            opts=opts,
        )
