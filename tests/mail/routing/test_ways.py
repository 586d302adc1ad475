"""Weighted targets: shares follow the weights, and a choice stays as it is."""

from collections import Counter
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from mail.routing.rules import Plan
from tests.mail.routing.desk import Shop, question, rule, table

SHOPS = tuple(Shop(UUID(int=n + 1000), f"p{n}") for n in range(5))
MESSAGES = 4000


def route(weights: list[int], **more: Any) -> dict[str, Any]:
    targets = [{"provider": f"p{n}", "weight": weight} for n, weight in enumerate(weights)]
    return {"type": "route", "targets": targets, **more}


def order(
    weights: list[int], message: int, recipient: str = "b@far.example", number: int = 1, **more: Any
) -> list[UUID]:
    chosen = table(rule(number, action=route(weights, **more)), providers=SHOPS, default=None)
    plan = chosen.decide(question(message_id=UUID(int=message)), recipient).course
    assert isinstance(plan, Plan)
    return list(plan.providers)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.integers(0, 2**100))
def test_shares_of_many_messages_are_close_to_the_weights(weights: list[int], start: int) -> None:
    chosen = table(rule(1, action=route(weights)), providers=SHOPS, default=None)
    count: Counter[UUID] = Counter()
    for n in range(MESSAGES):
        plan = chosen.decide(question(message_id=UUID(int=start + n)), "b@far.example").course
        assert isinstance(plan, Plan)
        assert len(plan.providers) == len(weights)
        count[plan.providers[0]] += 1
    for shop, weight in zip(SHOPS, weights, strict=False):
        share = weight / sum(weights)
        # Five standard deviations of a binomial distribution, and one message.
        assert abs(count[shop.id] - MESSAGES * share) <= 5 * (MESSAGES * share * (1 - share)) ** 0.5 + 1


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5), st.integers(0, 2**100), st.data())
def test_a_target_that_goes_away_leaves_the_order_of_the_others(
    weights: list[int], message: int, data: st.DataObject
) -> None:
    gone = data.draw(st.integers(0, len(weights) - 1))
    before = order(weights, message)
    left = tuple(shop for n, shop in enumerate(SHOPS) if n != gone)
    after = table(rule(1, action=route(weights)), providers=left, default=None)
    plan = after.decide(question(message_id=UUID(int=message)), "b@far.example").course
    assert isinstance(plan, Plan)
    assert list(plan.providers) == [provider for provider in before if provider != SHOPS[gone].id]


@given(st.integers(0, 2**100))
def test_the_order_in_which_targets_are_written_does_not_matter(message: int) -> None:
    targets = [{"provider": f"p{n}", "weight": n + 1} for n in range(5)]
    orders = set()
    for written in (targets, targets[::-1], targets[2:] + targets[:2]):
        action = {"type": "route", "targets": written}
        chosen = table(rule(1, action=action), providers=SHOPS, default=None)
        orders.add(chosen.decide(question(message_id=UUID(int=message)), "b@far.example"))
    assert len(orders) == 1


def several(recipients: list[str], messages: range, sticky: str, number: int = 1) -> Counter[tuple[UUID, ...]]:
    return Counter(
        tuple(order([1, 1, 1], message, recipient, number, sticky=sticky))
        for message in messages
        for recipient in recipients
    )


def test_a_choice_sticks_to_the_message_to_the_domain_or_to_neither() -> None:
    one_domain = [f"b{n}@far.example" for n in range(40)]
    domains = [f"b@d{n}.example" for n in range(40)]
    assert len(several(one_domain + domains, range(1), "message")) == 1
    assert len(several(["b@far.example"], range(40), "message")) > 1
    assert len(several(one_domain, range(40), "recipient_domain")) == 1
    assert len(several(domains, range(1), "recipient_domain")) > 1
    assert len(several(one_domain, range(1), "none")) > 1
    assert several(one_domain, range(1), "none") == several(one_domain, range(1), "none")


def test_another_rule_chooses_anew() -> None:
    both = [several(["b@far.example"], range(n, n + 1), "message", number) for n in range(40) for number in (1, 2)]
    assert any(one != two for one, two in zip(both[::2], both[1::2], strict=True))
