"""What the stack may cost in a month, and who is told when it costs more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

# Kind of spending, and percent of the budget.
NOTICES: Final = (("ACTUAL", 80), ("ACTUAL", 110), ("FORECASTED", 110))
# Those that set one stack apart from all others of an account.
_TAGS: Final = ("Project", "Stack")


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """US dollars a month, the tags of the stack, and the topic that is told."""

    monthly_dollars: int
    tags: Mapping[str, str]
    topic_arn: Input[str]


class Budget(pulumi.ComponentResource):
    """Declares the monthly budget. It only tells; it stops nothing.

    AWS counts costs by tag only once Project and Stack are activated as cost allocation tags in the billing console.
    """

    name: Output[str]

    def __init__(self, name: str, args: BudgetArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:budget:Budget", name, None, opts)
        child = ResourceOptions(parent=self)

        budget = aws.budgets.Budget(
            name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(args.monthly_dollars),
            limit_unit="USD",
            cost_filters=[{"name": "TagKeyValue", "values": [f"user:{tag}${args.tags[tag]}" for tag in _TAGS]}],
            notifications=[
                {
                    "notification_type": kind,
                    "comparison_operator": "GREATER_THAN",
                    "threshold": percent,
                    "threshold_type": "PERCENTAGE",
                    "subscriber_sns_topic_arns": [args.topic_arn],
                }
                for kind, percent in NOTICES
            ],
            opts=child,
        )

        self.name = budget.name
        self.register_outputs({"name": self.name})
