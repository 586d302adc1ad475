"""Which rule decides on a recipient, and what then."""

from typing import Any
from uuid import UUID

import pytest

from mail.delivery import Outcome
from mail.routing.conditions import MAX_HEADER_VALUE
from mail.routing.rules import Decision, Discard, Hold, Match, Reject, Rule, Skipped, Unreadable
from tests.mail.routing.desk import A, B, C, Shop, plan, question, rule, table

NAMES = [f"d{n}.example" for n in range(9)]
DISCARD = {"type": "discard"}
TO_B = {"type": "route", "targets": [{"provider": "b"}]}


@pytest.mark.parametrize(
    ("condition", "recipient"),
    [
        ({"recipient_domain": "Far.example"}, "b@far.EXAMPLE"),
        ({"recipient_domain": ["x.example", "*.far.example"]}, "b@mail.eu.far.example"),
        ({"recipient_domain": "bücher.example"}, "b@xn--bcher-kva.example"),
        ({"recipient_domain": "xn--bcher-kva.example"}, "b@Bücher.example"),
        ({"recipient_domain": "[192.0.2.1]"}, "b@[192.0.2.1]"),
        ({"sender_domain": "*.shop.example"}, "b@far.example"),
        ({"header": {"name": "x-stream", "equals": "BULK mail"}}, "b@far.example"),
        ({"header": {"name": "Subject", "contains": "offer"}}, "b@far.example"),
        ({"header": {"name": "Subject", "prefix": "an off"}}, "b@far.example"),
        ({"header": {"name": "X-Stream", "exists": True}}, "b@far.example"),
        ({"header": {"name": "X-None", "exists": False}}, "b@far.example"),
        ({"header": [{"name": "X-None", "equals": "a"}, {"name": "Subject", "equals": "an offer"}]}, "b@far.example"),
        ({"tag": ["y", "x"]}, "b@far.example"),
        ({"stream": "bulk"}, "b@far.example"),
        ({"size": {"gt": 999}}, "b@far.example"),
        ({"size": [{"lt": 5}, {"gt": 10, "lt": 1001}]}, "b@far.example"),
        ({"credential_id": str(UUID(int=5))}, "b@far.example"),
    ],
)
def test_a_condition_holds(condition: dict[str, Any], recipient: str) -> None:
    assert table(rule(1, condition)).decide(message(), recipient) == plan(1, A)


@pytest.mark.parametrize(
    ("condition", "recipient", "why"),
    [
        (
            {"recipient_domain": "far.example"},
            "b@mail.far.example",
            "recipient_domain: mail.far.example is none of far.example",
        ),
        (
            {"recipient_domain": "*.far.example"},
            "b@far.example",
            "recipient_domain: far.example is none of *.far.example",
        ),
        (
            {"recipient_domain": "*.far.example"},
            "b@notfar.example",
            "recipient_domain: notfar.example is none of *.far.example",
        ),
        ({"recipient_domain": "far.example"}, "postmaster", "recipient_domain: no domain is none of far.example"),
        (
            {"recipient_domain": NAMES},
            "b@far.example",
            f"recipient_domain: far.example is none of {', '.join(NAMES[:5])}, ... (9 in all)",
        ),
        (
            {"sender_domain": "shop.example"},
            "b@far.example",
            "sender_domain: mail.shop.example is none of shop.example",
        ),
        ({"header": {"name": "X-Stream", "equals": "bulk"}}, "b@far.example", 'header: x-stream is "bulk mail"'),
        ({"header": {"name": "X-None", "contains": "a"}}, "b@far.example", "header: x-none is missing"),
        ({"header": {"name": "Subject", "prefix": "offer"}}, "b@far.example", 'header: subject is "an offer"'),
        ({"header": {"name": "Subject", "exists": False}}, "b@far.example", 'header: subject is "an offer"'),
        ({"tag": "X"}, "b@far.example", "tag: the message has x, z, not X"),
        ({"stream": "transactional"}, "b@far.example", 'stream: "bulk" is none of transactional'),
        ({"size": {"gt": 1000}}, "b@far.example", "size: 1000 octets"),
        ({"credential_id": str(UUID(int=6))}, "b@far.example", f"credential_id: it is {UUID(int=5)}"),
    ],
)
def test_a_condition_that_does_not_hold_is_told(condition: dict[str, Any], recipient: str, why: str) -> None:
    one = table(rule(1, condition))
    assert one.decide(message(), recipient) == plan(None, C)
    trace = one.explain(message(), recipient)
    assert [(step.decides, step.unmet) for step in trace.steps] == [(False, why)]
    assert trace.decision == plan(None, C)


def message(**changes: Any) -> Any:
    block = b"Subject: an\r\n offer\r\nX-Stream:Bulk mail\r\nX-Stream: second"
    given = {"size": 1000, "stream": "bulk", "tags": ("x", "z"), "credential_id": UUID(int=5)}
    return question("a@mail.shop.example", header_block=lambda: block, **given | changes)


def test_the_first_rule_that_matches_decides_by_priority_then_id() -> None:
    several = table(
        rule(4, {"recipient_domain": "far.example"}, priority=20),
        rule(3, action=DISCARD, priority=20),
        rule(2, {"recipient_domain": "*.example"}, action=TO_B, priority=10),
        rule(1, {"recipient_domain": "far.example"}, action=TO_B, priority=30),
        rule(5, {"recipient_domain": ["far.example", "near.example"]}, action=TO_B, priority=10, enabled=False),
        rule(6, {"recipient_domain": "far.test"}, {"recipient_domain": "*.test"}, {"tag": "x"}, priority=5),
    )
    assert several.decide(message(), "b@far.example") == plan(2, B)
    assert several.decide(message(), "b@far.test") == plan(6, A)
    assert several.decide(message(), "b@other.test") == Decision(UUID(int=3), Discard())
    trace = several.explain(message(), "b@far.example")
    assert [(step.rule.id.int, step.verdict) for step in trace.steps] == [
        (6, "does not match: recipient_domain: far.example is none of far.test"),
        (2, "decides"),
        (5, "is disabled"),
        (3, "matches, after another one decided"),
        (4, "matches, after another one decided"),
        (1, "matches, after another one decided"),
    ]


def test_one_message_may_go_different_ways() -> None:
    two = table(rule(1, {"recipient_domain": "a.example"}), rule(2, {"recipient_domain": "b.example"}, action=TO_B))
    asked = question()
    ways = [two.decide(asked, f"x@{name}.example") for name in "abca"]
    assert ways == [plan(1, A), plan(2, B), plan(None, C), plan(1, A)]
    assert len(set(ways)) == 3


def test_all_conditions_must_hold() -> None:
    both = table(rule(1, {"tag": "x"}, {"header": {"name": "X-Stream", "prefix": "bulk"}}, {"size": {"lt": 10}}))
    assert both.decide(message(), "b@far.example") == plan(None, C)
    assert both.decide(message(size=9), "b@far.example") == plan(1, A)


@pytest.mark.parametrize(
    ("action", "course"),
    [
        ({"type": "reject", "code": 553, "text": "no"}, Reject(553, "no", "5.7.1")),
        ({"type": "hold", "reason": "ask first"}, Hold("ask first")),
        (DISCARD, Discard()),
    ],
)
def test_a_rule_may_send_nothing(action: dict[str, Any], course: Any) -> None:
    assert table(rule(1, action=action)).decide(question(), "b@far.example") == Decision(UUID(int=1), course)


def test_mail_is_redirected_through_targets_or_the_default_provider() -> None:
    redirect = {"type": "redirect", "to": "dev@shop.example"}
    plain = table(rule(1, action=redirect))
    assert plain.decide(question(), "b@far.example") == plan(1, C, redirect_to="dev@shop.example")
    targeted = table(rule(1, action=redirect | {"targets": [{"provider": "b"}], "max_recipients": 5}))
    assert targeted.decide(question(), "b@far.example") == plan(1, B, redirect_to="dev@shop.example", max_recipients=5)
    nowhere = table(rule(1, action=redirect), default=None).decide(question(), "b@far.example")
    assert nowhere == plan(
        1, redirect_to="dev@shop.example", skipped=(Skipped("-", "the account has no default provider"),)
    )


def test_failover_follows_the_targets_on_the_outcomes_that_were_named() -> None:
    action = {
        "type": "route",
        "targets": [{"provider": "b"}],
        "failover": ["c", "b", "a"],
        "failover_on": ["temporary"],
        "max_recipients": 3,
    }
    decided = table(rule(1, action=action)).decide(question(), "b@far.example")
    assert decided == plan(1, B, C, A, failover_on=frozenset({Outcome.TEMPORARY}), max_recipients=3)


def test_a_target_that_cannot_be_asked_is_skipped_with_a_reason() -> None:
    off = Shop(UUID(int=4), "off", enabled=False)
    picky = Shop(UUID(int=5), "picky", allowed_domains=("near.example", "*.near.example"))
    action = {
        "type": "route",
        "targets": [{"provider": "off"}, {"provider": "gone"}],
        "failover": ["picky", "a"],
    }
    several = table(rule(1, action=action), providers=(A, off, picky), default=off)
    missing = (
        Skipped("off", "it is disabled"),
        Skipped("gone", "there is no provider of this name that the account may use"),
    )
    strange = (*missing, Skipped("picky", "it does not send for shop.example"))
    assert several.decide(question(), "b@far.example") == plan(1, A, skipped=strange)
    for sender in ("x@near.example", "x@eu.near.example", ""):
        assert several.decide(question(sender), "b@far.example") == plan(1, picky, A, skipped=missing)
    assert table(providers=(off,), default=off).decide(question(), "b@far.example") == plan(None, skipped=missing[:1])


def test_what_matches_a_rule_without_a_usable_target_waits_and_does_not_go_to_the_default_provider() -> None:
    lost = table(rule(1, action={"type": "route", "targets": [{"provider": "gone"}]}))
    absent = Skipped("gone", "there is no provider of this name that the account may use")
    assert lost.decide(question(), "b@far.example") == plan(1, skipped=(absent,))


def test_mail_that_comes_to_a_rule_that_cannot_be_read_waits() -> None:
    newer = Rule(UUID(int=2), "newer", 10, True, Match(), Unreadable("action.type is 'teleport'"))
    several = table(rule(1, {"recipient_domain": "near.example"}, priority=1), newer)
    assert several.decide(question(), "b@near.example") == plan(1, A)
    assert several.decide(question(), "b@far.example") == plan(
        2, skipped=(Skipped("-", "the rule cannot be read: action.type is 'teleport'"),)
    )


def test_without_rules_all_goes_to_the_default_provider_and_without_one_it_waits() -> None:
    assert table().decide(question(), "b@far.example") == plan(None, C)
    nowhere = plan(None, skipped=(Skipped("-", "the account has no default provider"),))
    assert table(default=None).decide(question(), "b@far.example") == nowhere


def test_the_accounts_own_provider_counts_before_a_shared_one_of_the_same_name() -> None:
    own = Shop(UUID(int=9), "a")
    assert table(rule(1), providers=(own, A, C)).decide(question(), "b@far.example") == plan(1, own)


def test_headers_are_read_once_and_only_where_a_rule_looks_at_one() -> None:
    reads: list[int] = []

    def block() -> bytes:
        reads.append(1)
        return b"X-A: 1"

    plain = table(rule(1, {"recipient_domain": "near.example"}), rule(2, {"sender_domain": "other.example"}))
    asked = question(header_block=block)
    plain.decide(asked, "b@near.example")
    plain.decide(asked, "b@far.example")
    assert reads == []
    looking = table(
        rule(1, {"header": {"name": "X-A", "equals": "2"}}), rule(2, {"header": {"name": "X-B", "exists": True}})
    )
    for n in range(5):
        looking.decide(asked, f"b{n}@far.example")
    assert reads == [1]


def test_the_rest_of_an_endless_header_is_not_looked_at() -> None:
    block = b"X-A: " + b"a" * MAX_HEADER_VALUE + b"end"
    look = table(rule(1, {"header": {"name": "X-A", "contains": "end"}}))
    assert look.decide(question(header_block=lambda: block), "b@far.example") == plan(None, C)


def test_a_trace_can_be_written_as_json() -> None:
    several = table(
        rule(1, {"tag": "x"}, priority=1),
        rule(2, action={"type": "route", "targets": [{"provider": "b", "weight": 3}], "failover": ["a", "gone"]}),
    )
    document = several.explain(question(), "b@far.example").document()
    assert document == {
        "recipient": "b@far.example",
        "rules": [
            {
                "id": str(UUID(int=1)),
                "name": "r1",
                "priority": 1,
                "enabled": True,
                "matches": False,
                "decides": False,
                "unmet": "tag: the message has none, not x",
            },
            {
                "id": str(UUID(int=2)),
                "name": "r2",
                "priority": 100,
                "enabled": True,
                "matches": True,
                "decides": True,
                "unmet": None,
            },
        ],
        "rule_id": str(UUID(int=2)),
        "decision": {
            "type": "send",
            "providers": [
                {"id": str(B.id), "name": "b", "weight": 3},
                {"id": str(A.id), "name": "a", "weight": None},
            ],
            "failover_on": ["misconfigured", "provider_down", "throttled"],
            "max_recipients": None,
            "redirect_to": None,
            "skipped": [{"provider": "gone", "reason": "there is no provider of this name that the account may use"}],
        },
    }


@pytest.mark.parametrize(
    ("action", "written"),
    [
        ({"type": "reject", "text": "no"}, {"type": "reject", "code": 550, "enhanced": "5.7.1", "text": "no"}),
        ({"type": "hold", "reason": "ask"}, {"type": "hold", "reason": "ask"}),
        (DISCARD, DISCARD),
    ],
)
def test_a_trace_of_what_is_not_sent_can_be_written_as_json(action: dict[str, Any], written: dict[str, Any]) -> None:
    trace = table(rule(1, action=action)).explain(question(), "b@far.example")
    assert (trace.legs, trace.document()["decision"]) == ((), written)
