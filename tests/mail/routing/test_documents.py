"""Rules as documents: what is read, and how a mistake is told."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.delivery import Outcome
from mail.routing.conditions import Credential, Header, HeaderTest, SenderDomain, Size, Stream, Tag
from mail.routing.documents import MAX_TARGETS, parse_rule
from mail.routing.domains import Domains
from mail.routing.matches import MAX_ALTERNATIVES, MAX_CONDITIONS
from mail.routing.reading import BadRule
from mail.routing.rules import Action, Discard, Hold, Match, Redirect, Reject, Route, Rule, Sticky, Target

ID, CREDENTIAL = UUID(int=7), UUID(int=8)
DISCARD = {"type": "discard"}
KEYS = "recipient_domain, sender_domain, header, tag, stream, size, credential_id"
OUTCOMES = "permanent, temporary, message_permanent, throttled, provider_down, misconfigured"


def test_a_rule_with_everything_is_read() -> None:
    document = {
        "name": "gmail via ses",
        "priority": 10,
        "enabled": False,
        "match": {
            "all": [
                {"recipient_domain": ["Gmail.com", "*.googlemail.com"]},
                {"sender_domain": "shop.example"},
                {"header": [{"name": "X-Stream", "equals": "Bulk"}, {"name": "x-a", "exists": False}]},
                {"tag": ["newsletter", "offer"]},
                {"stream": "bulk"},
                {"size": {"gt": 1000, "lt": 2000}},
                {"credential_id": str(CREDENTIAL)},
            ]
        },
        "action": {
            "type": "route",
            "targets": [{"provider": "ses-eu", "weight": 80}, {"provider": "mg-1", "weight": 20}],
            "sticky": "recipient_domain",
            "failover": ["smtp-backup"],
            "failover_on": ["provider_down", "message_permanent"],
            "max_recipients": 1,
        },
    }
    assert parse_rule(ID, document) == Rule(
        ID,
        "gmail via ses",
        10,
        False,
        Match(
            (Domains.of(("gmail.com", "*.googlemail.com")),),
            (
                SenderDomain(Domains.of(("shop.example",))),
                Header((HeaderTest("x-stream", "equals", "bulk"), HeaderTest("x-a", "exists", ""))),
                Tag(frozenset({"newsletter", "offer"})),
                Stream(frozenset({"bulk"})),
                Size(((1000, 2000),)),
                Credential(frozenset({CREDENTIAL})),
            ),
        ),
        Route(
            targets=(Target("ses-eu", 80), Target("mg-1", 20)),
            sticky=Sticky.RECIPIENT_DOMAIN,
            failover=("smtp-backup",),
            failover_on=frozenset({Outcome.PROVIDER_DOWN, Outcome.MESSAGE_PERMANENT}),
            max_recipients=1,
        ),
    )


@pytest.mark.parametrize(
    ("action", "read"),
    [
        ({"type": "route", "targets": [{"provider": "a"}]}, Route(targets=(Target("a", 1),))),
        ({"type": "reject", "text": "not from here"}, Reject(550, "not from here")),
        ({"type": "reject", "code": 554, "text": "no"}, Reject(554, "no")),
        ({"type": "hold", "reason": "ask first"}, Hold("ask first")),
        (DISCARD, Discard()),
        ({"type": "redirect", "to": "Dev@Shop.example"}, Redirect("Dev@shop.example", Route())),
        (
            {"type": "redirect", "to": "d@shop.example", "targets": [{"provider": "a"}]},
            Redirect("d@shop.example", Route(targets=(Target("a", 1),))),
        ),
    ],
)
def test_every_action_is_read(action: dict[str, Any], read: Action) -> None:
    assert parse_rule(ID, {"name": "r", "action": action}) == Rule(ID, "r", 100, True, Match(), read)


def route(**more: Any) -> dict[str, Any]:
    return {"action": {"type": "route", "targets": [{"provider": "a"}], **more}}


def when(condition: Any) -> dict[str, Any]:
    return {"match": {"all": [condition]}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "name is ''; expected a text of 1 to 200 printable characters"),
        ({"name": "a\0b"}, r"name is 'a\x00b'; expected a text of 1 to 200 printable characters"),
        ({"priority": -1}, "priority is -1; expected a whole number from 0 to 1000000"),
        ({"priority": True}, "priority is True; expected a whole number from 0 to 1000000"),
        ({"enabled": "yes"}, "enabled is 'yes'; expected true or false"),
        ({"color": 1}, "rule has no key 'color'; it may have action, enabled, match, name, priority"),
        ({"match": []}, "match is []; expected an object"),
        ({"match": {"any": []}}, "match has no key 'any'; it may have all"),
        (
            when({"weather": "rain"}),
            f"match.all[0] has no condition 'weather'; expected one of {KEYS}",
        ),
        (
            when({"tag": "a", "stream": "b"}),
            f"match.all[0] is {{'tag': 'a', 'stream': 'b'}}; expected an object with one condition of {KEYS}",
        ),
        (when({"tag": []}), "match.all[0].tag is empty; a condition needs an alternative at least"),
        (
            when({"recipient_domain": ["a.example", "a b"]}),
            "match.all[0].recipient_domain[1] is 'a b': Bad address: the domain is malformed",
        ),
        (
            when({"sender_domain": "\ud800"}),
            r"match.all[0].sender_domain is '\ud800'; expected a domain, or *.example.com for all below example.com",
        ),
        (
            when({"sender_domain": 5}),
            "match.all[0].sender_domain is 5; expected a domain, or *.example.com for all below example.com",
        ),
        (
            when({"tag": "x\ud800"}),
            r"match.all[0].tag is 'x\ud800'; expected a text of 1 to 200 printable characters",
        ),
        (when({"header": {"name": "X:", "equals": "a"}}), "match.all[0].header.name is 'X:'; expected a header's name"),
        (
            when({"header": {"name": "X", "matches": "(a+)+"}}),
            "match.all[0].header has no key 'matches'; it may have contains, equals, exists, name, prefix",
        ),
        (
            when({"header": {"name": "X", "equals": "a", "prefix": "b"}}),
            "match.all[0].header needs one of equals, contains, prefix, exists, and has equals, prefix",
        ),
        (when({"size": {}}), 'match.all[0].size is empty; expected {"gt": octets}, {"lt": octets}, or both'),
        (
            when({"size": {"gt": "1M"}}),
            "match.all[0].size.gt is '1M'; expected a whole number from 0 to 1099511627776",
        ),
        (when({"credential_id": "till"}), "match.all[0].credential_id is 'till'; expected the id of a credential"),
        ({"action": None}, "action.type is missing; expected one of route, reject, hold, discard, redirect"),
        ({"action": {"type": []}}, "action.type is []; expected one of route, reject, hold, discard, redirect"),
        ({"action": {"type": "discard", "to": 1}}, "action has no key 'to'; it may have type"),
        ({"action": {"type": "route"}}, "action.targets is missing; name a provider at least"),
        (route(targets={"provider": "a"}), "action.targets is {'provider': 'a'}; expected a list"),
        (
            route(targets=[{"provider": "A b"}]),
            "action.targets[0].provider is 'A b'; expected a provider's name: small letters, digits, dashes",
        ),
        (
            route(targets=[{"provider": "a", "weight": 0}]),
            "action.targets[0].weight is 0; expected a whole number from 1 to 1000",
        ),
        (
            route(targets=[{"provider": "a"}, {"provider": "a"}]),
            "action.targets names a twice; each provider stands there once",
        ),
        (route(sticky="day"), "action.sticky is 'day'; expected one of message, recipient_domain, none"),
        (
            route(failover_on=["unknown"]),
            f"action.failover_on[0] is 'unknown'; expected one of {OUTCOMES}",
        ),
        (route(max_recipients=0), "action.max_recipients is 0; expected a whole number from 1 to 1000"),
        (
            {"action": {"type": "reject", "code": 450, "text": "x"}},
            "action.code is 450; expected a whole number from 500 to 599",
        ),
        (
            {"action": {"type": "reject", "text": "no\r\n250 ok"}},
            r"action.text is 'no\r\n250 ok'; expected a text of 1 to 200 printable characters",
        ),
        (
            {"action": {"type": "reject", "text": "nö"}},
            "action.text is 'nö'; an SMTP reply has ASCII letters only",
        ),
        (
            {"action": {"type": "hold"}},
            "action.reason is missing; expected a text of 1 to 200 printable characters",
        ),
        ({"action": {"type": "redirect"}}, "action.to is missing; expected an address"),
        ({"action": {"type": "redirect", "to": "\ud800@a.b"}}, r"action.to is '\ud800@a.b'; expected an address"),
        (
            {"action": {"type": "redirect", "to": "dev"}},
            "action.to is 'dev': Bad address: an address needs a local part, @ and a domain",
        ),
        (
            {"action": {"type": "redirect", "to": "d@x.example", "failover": ["a"]}},
            "action.failover needs action.targets; without any, the default provider is asked",
        ),
    ],
)
def test_a_mistake_is_told_with_its_key_its_value_and_what_may_be(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRule) as told:
        parse_rule(ID, {"name": "r", "action": DISCARD} | changes)
    assert str(told.value) == says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"match": {"all": [{"tag": "a"}] * (MAX_CONDITIONS + 1)}}, "match.all has 11 entries; 10 at most"),
        (
            when({"recipient_domain": ["a.example"] * (MAX_ALTERNATIVES + 1)}),
            "match.all[0].recipient_domain has 1001 entries; 1000 at most",
        ),
        (
            route(targets=[{"provider": f"p{n}"} for n in range(MAX_TARGETS + 1)]),
            "action.targets has 11 entries; 10 at most",
        ),
        (
            when({"header": [{"name": "x", "contains": "a"}] * 21}),
            "match.all[0].header has 21 entries; 20 at most",
        ),
    ],
)
def test_a_rule_is_bounded(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRule) as told:
        parse_rule(ID, {"name": "r", "action": DISCARD} | changes)
    assert str(told.value) == says


@pytest.mark.parametrize("document", [None, [], "rule", {"name": "r"}, {"action": DISCARD}])
def test_what_is_no_rule_at_all_is_refused(document: object) -> None:
    with pytest.raises(BadRule):
        parse_rule(ID, document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
conditions = st.sampled_from(["recipient_domain", "sender_domain", "header", "tag", "stream", "size", "credential_id"])
actions = st.sampled_from(["route", "reject", "hold", "discard", "redirect"])


@given(
    st.fixed_dictionaries(
        {
            "name": st.just("r") | json_values,
            "match": json_values | st.fixed_dictionaries({"all": st.lists(st.dictionaries(conditions, json_values))}),
            "action": json_values | st.builds(lambda kind, rest: {**rest, "type": kind}, actions, st.just({})),
        }
    )
)
def test_any_document_is_a_rule_or_told_why_not(document: dict[str, Any]) -> None:
    told = ""
    try:
        parse_rule(ID, document)
    except BadRule as fault:
        told = str(fault)
    assert len(told) < 1000
