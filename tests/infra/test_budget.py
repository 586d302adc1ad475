import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.budget import Budget, BudgetArgs

Budget(
    "smtp-proxy-prod",
    BudgetArgs(monthly_dollars=settings.watch.monthly_budget, tags=settings.tags, topic_arn="the-topic"),
    opts,
)
"""


@pytest.fixture(scope="module")
def budget(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("budget"), BODY, {"monthlyBudget": 450, "tags": {"Team": "mail"}})


def test_it_keeps_the_contract(budget: Graph) -> None:
    assert {check.__name__: check(budget) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


def test_the_topic_hears_at_80_and_110_percent_of_what_this_stack_may_cost(budget: Graph) -> None:
    (node,) = budget.of_type("aws:budgets/budget:Budget")
    assert node.inputs == {
        "budgetType": "COST",
        "timeUnit": "MONTHLY",
        "limitAmount": "450",
        "limitUnit": "USD",
        "costFilters": [{"name": "TagKeyValue", "values": ["user:Project$smtp-proxy", "user:Stack$prod"]}],
        "notifications": [
            {
                "notificationType": kind,
                "comparisonOperator": "GREATER_THAN",
                "threshold": percent,
                "thresholdType": "PERCENTAGE",
                "subscriberSnsTopicArns": ["the-topic"],
            }
            for kind, percent in (("ACTUAL", 80), ("ACTUAL", 110), ("FORECASTED", 110))
        ],
    }
