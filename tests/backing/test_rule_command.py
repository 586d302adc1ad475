"""Rules as an operator makes, changes and tries them, with real parts."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from mail.routing.documents import MAX_RULES
from tests.backing.conftest import Run

SIMULATE = ("rule", "simulate", "shop", "--from", "x@a.example", "--message-id", "01890000-0000-7000-8000-000000000001")


@pytest.fixture
def shop(run: Run) -> Run:
    create = ("account", "create", "shop", "--domain", "a.example", "--smtp", "h:25", "--username", "till")
    assert run(*create).returncode == 0
    for name in ("ses-eu", "mg-1"):
        assert run("provider", "create", name, "--kind", "ses").returncode == 0
    return run


def rule(run: Run, name: str = "r") -> dict[str, Any]:
    shown = json.loads(run("rule", "show", "shop", name).stdout)
    assert len(shown.pop("id")) == 36
    return dict(shown)


def test_a_rule_is_made_of_options(shop: Run, database_url: str) -> None:
    made = shop(
        *("rule", "create", "shop", "r", "--priority", "10", "--recipient-domain", "gmail.com"),
        *("--recipient-domain", "*.gmail.com", "--sender-domain", "a.example", "--tag", "bulk", "--stream", "s"),
        *("--credential", "till", "--header", "X-A=b=c", "--header-prefix", "x-a=d", "--header-contains", "Subject=!"),
        *("--header-exists", "List-Id", "--larger-than", "10", "--smaller-than", "2000"),
        *("--to", "ses-eu:80", "--to", "mg-1", "--sticky", "none", "--failover", "smtp", "--max-recipients", "1"),
        *("--failover-on", "provider_down", "--failover-on", "throttled"),
    )
    assert (made.returncode, made.stdout) == (0, "Rule r is made; `rule simulate` shows what it does.\n")
    with psycopg.connect(database_url) as connection:
        (credential,) = connection.execute("SELECT id::text FROM credential").fetchone() or ()
    assert rule(shop) == {
        "name": "r",
        "priority": 10,
        "enabled": True,
        "match": {
            "all": [
                {"recipient_domain": ["gmail.com", "*.gmail.com"]},
                {"sender_domain": ["a.example"]},
                {"tag": ["bulk"]},
                {"stream": ["s"]},
                {"header": [{"name": "X-A", "equals": "b=c"}, {"name": "x-a", "prefix": "d"}]},
                {"header": [{"name": "Subject", "contains": "!"}]},
                {"header": [{"name": "List-Id", "exists": True}]},
                {"size": {"gt": 10, "lt": 2000}},
                {"credential_id": [credential]},
            ]
        },
        "action": {
            "type": "route",
            "targets": [{"provider": "ses-eu", "weight": 80}, {"provider": "mg-1"}],
            "sticky": "none",
            "failover": ["smtp"],
            "failover_on": ["provider_down", "throttled"],
            "max_recipients": 1,
        },
        "version": 1,
    }


@pytest.mark.parametrize(
    ("options", "action"),
    [
        (("--reject", "550 not from here"), {"type": "reject", "code": 550, "text": "not from here"}),
        (("--hold", "ask first"), {"type": "hold", "reason": "ask first"}),
        (("--discard",), {"type": "discard"}),
        (("--redirect", "d@a.example"), {"type": "redirect", "to": "d@a.example"}),
        (
            ("--redirect", "d@a.example", "--to", "smtp:2"),
            {"type": "redirect", "to": "d@a.example", "targets": [{"provider": "smtp", "weight": 2}]},
        ),
    ],
)
def test_every_action_has_its_option(shop: Run, options: tuple[str, ...], action: dict[str, Any]) -> None:
    assert shop("rule", "create", "shop", "r", *options).returncode == 0
    assert (rule(shop)["match"], rule(shop)["action"]) == ({}, action)


def test_a_rule_is_changed_in_parts(shop: Run, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    file.write_text(json.dumps({"priority": 7, "match": {"all": [{"tag": "x"}]}, "action": {"type": "discard"}}))
    assert shop("rule", "create", "shop", "r", "--file", str(file)).returncode == 0
    first = {"name": "r", "priority": 7, "enabled": True, "match": {"all": [{"tag": "x"}]}}
    assert rule(shop) == first | {"action": {"type": "discard"}, "version": 1}
    changed = shop("rule", "set", "shop", "r", "--no-enabled", "--hold", "wait")
    assert changed.stdout == "Rule r is changed; `rule simulate` shows what it does.\n"
    held = {"type": "hold", "reason": "wait"}
    assert rule(shop) == first | {"enabled": False, "action": held, "version": 2}
    assert shop("rule", "set", "shop", "r", "--always", "--rename", "all", "--priority", "0").returncode == 0
    assert rule(shop, "all") == {
        "name": "all",
        "priority": 0,
        "enabled": False,
        "match": {"all": []},
        "action": held,
        "version": 3,
    }
    assert shop("rule", "delete", "shop", "all").stdout == "Rule all is deleted.\n"
    assert shop("rule", "list", "shop", "--json").stdout == "[]\n"


def test_what_show_prints_makes_another_rule_of_the_kind(shop: Run, tmp_path: Path) -> None:
    assert shop("rule", "create", "shop", "r", "--tag", "x", "--to", "ses-eu:3", "--priority", "5").returncode == 0
    file = tmp_path / "rule.json"
    file.write_text(shop("rule", "show", "shop", "r").stdout)
    assert shop("rule", "create", "shop", "s", "--file", str(file)).returncode == 0
    assert rule(shop, "s") == rule(shop, "r") | {"name": "s"}
    assert shop("rule", "set", "shop", "s", "--file", str(file), "--priority", "6").returncode == 0
    assert rule(shop, "s") == rule(shop, "r") | {"name": "s", "priority": 6, "version": 2}


def test_rules_are_listed_in_their_order(shop: Run) -> None:
    domains = [word for n in range(5) for word in ("--recipient-domain", f"d{n}.example")]
    assert shop("rule", "create", "shop", "late", "--discard").returncode == 0
    early = ("rule", "create", "shop", "early", "--priority", "5", *domains, "--header", "X-A=b", "--larger-than", "9")
    assert shop(*early, "--to", "ses-eu:3", "--failover", "mg-1").returncode == 0
    assert shop("rule", "create", "shop", "no", "--priority", "6", "--reject", "550 no", "--no-enabled").returncode == 0
    lines = shop("rule", "list", "shop").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "PRIORITY RULE STATE WHEN THEN",
        (
            "5 early enabled recipient_domain d0.example or d1.example or d2.example or 2 more and"
            ' header X-A equals "b" and size gt 9 route ses-eu:3 then mg-1'
        ),
        "6 no disabled always reject 550 no",
        "100 late enabled always discard",
    ]
    assert {line.rindex(word) for line, word in zip(lines, ("THEN", "route", "reject", "discard"), strict=True)} == {
        lines[0].index("THEN")
    }


def test_a_simulation_shows_every_rule_and_the_way(shop: Run, tmp_path: Path) -> None:
    assert shop("provider", "set", "mg-1", "--domain", "b.example").returncode == 0
    bulk = (
        "rule",
        "create",
        "shop",
        "bulk",
        "--header",
        "X-Stream=bulk",
        "--larger-than",
        "20",
        "--credential",
        "till",
    )
    assert shop(*bulk, "--priority", "1", "--to", "ses-eu", "--failover", "mg-1", "--failover", "smtp").returncode == 0
    refuse = ("rule", "create", "shop", "refuse", "--recipient-domain", "*.test", "--reject", "550 no such place")
    assert shop(*refuse).returncode == 0
    message = tmp_path / "message"
    message.write_text("Subject: hi\nX-Stream: bulk\n\nX-Stream: body\n")
    asked = (*SIMULATE, "--to", "b@far.example", "--to", "b@far.test")
    assert shop(*asked, "--message-file", str(message), "--credential", "till").stdout == (
        "b@far.example\n"
        "  PRIORITY RULE   VERDICT\n"
        "  1        bulk   decides\n"
        "  100      refuse does not match: recipient_domain: far.example is none of *.test\n"
        "  goes out through\n"
        "    1. ses-eu\n"
        "    2. smtp (failover)\n"
        "    not mg-1: it does not send for a.example\n"
        "    the next one after: misconfigured, provider_down, throttled\n"
        "\n"
        "b@far.test\n"
        "  PRIORITY RULE   VERDICT\n"
        "  1        bulk   decides\n"
        "  100      refuse matches, after another one decided\n"
        "  goes out through\n"
        "    1. ses-eu\n"
        "    2. smtp (failover)\n"
        "    not mg-1: it does not send for a.example\n"
        "    the next one after: misconfigured, provider_down, throttled\n"
    )
    other = shop(*asked, "--header", "X-Stream=other", "--size", "5")
    assert other.stdout == (
        "b@far.example\n"
        "  PRIORITY RULE   VERDICT\n"
        '  1        bulk   does not match: header: x-stream is "other"\n'
        "  100      refuse does not match: recipient_domain: far.example is none of *.test\n"
        "  goes out through (no rule decides: the default provider)\n"
        "    1. smtp\n"
        "\n"
        "b@far.test\n"
        "  PRIORITY RULE   VERDICT\n"
        '  1        bulk   does not match: header: x-stream is "other"\n'
        "  100      refuse decides\n"
        "  is rejected: 550 5.7.1 no such place\n"
    )
    (first, second) = json.loads(shop(*asked, "--json").stdout)
    assert (first["recipient"], first["decision"]["type"], first["rule_id"]) == ("b@far.example", "send", None)
    assert second["decision"] == {"type": "reject", "code": 550, "enhanced": "5.7.1", "text": "no such place"}


def test_a_simulation_shows_the_shares_of_weighted_targets(shop: Run) -> None:
    split = ("rule", "create", "shop", "split", "--to", "ses-eu:3", "--to", "mg-1:1")
    assert shop(*split, "--failover-on", "temporary").returncode == 0
    lines = shop(*SIMULATE, "--to", "b@far.example").stdout.splitlines()
    # Which one comes first depends on the ids.
    assert sorted(line[7:] for line in lines[4:6]) == ["mg-1 (weight 1, 25%)", "ses-eu (weight 3, 75%)"]
    assert lines[6:] == ["    the next one after: temporary"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--hold", "ask first"), "is held: ask first"),
        (("--discard",), "is discarded"),
        (("--redirect", "d@a.example"), "goes out to d@a.example through\n    1. smtp"),
    ],
)
def test_a_simulation_says_what_is_not_sent_and_what_goes_elsewhere(
    shop: Run, options: tuple[str, ...], shown: str
) -> None:
    assert shop("rule", "create", "shop", "r", *options).returncode == 0
    said = shop(*SIMULATE, "--to", "b@far.example").stdout
    assert said == f"b@far.example\n  PRIORITY RULE VERDICT\n  100      r    decides\n  {shown}\n"


def test_a_simulation_says_why_mail_would_wait(shop: Run) -> None:
    assert shop("provider", "disable", "smtp", "--account", "shop").returncode == 0
    assert shop(*SIMULATE, "--to", "b@far.example").stdout == (
        "b@far.example\n  waits: no provider can take it (no rule decides: the default provider)\n"
        "    not smtp: it is disabled\n"
    )


def test_a_rule_that_this_version_cannot_read_is_shown_as_such(shop: Run, database_url: str) -> None:
    assert shop("rule", "create", "shop", "newer", "--discard").returncode == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE routing_rule SET action = %s", [Jsonb({"type": "teleport"})])
    assert shop(*SIMULATE, "--to", "b@far.example").stdout == (
        "b@far.example\n  PRIORITY RULE  VERDICT\n  100      newer decides\n  waits: no provider can take it\n"
        "    not -: the rule cannot be read: action.type is 'teleport'; expected one of route, reject, hold, discard,"
        " redirect\n"
    )


def test_an_account_has_so_many_rules_at_most(shop: Run, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO routing_rule (id, account_id, name, priority, action)"
            " SELECT gen_random_uuid(), account.id, 'r' || n, 1, %s FROM account, generate_series(1, %s) AS n",
            [Jsonb({"type": "discard"}), MAX_RULES],
        )
    assert shop("rule", "create", "shop", "more", "--discard").stderr == (
        f"error: account 'shop' has {MAX_RULES} rules; {MAX_RULES} at most\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "shop", "none"), 1, "account 'shop' has no rule 'none'; `rule list` shows those there are"),
        (("set", "shop", "none", "--discard"), 1, "account 'shop' has no rule 'none'"),
        (("delete", "shop", "none"), 1, "account 'shop' has no rule 'none'"),
        (("list", "none"), 1, "there is no account 'none'; `account list` shows those there are"),
        (("create", "shop", "r/2", "--discard"), 1, "the rule cannot be: name is 'r/2'; expected up to 200 letters"),
        (("create", "shop", "r", "--to", "none"), 1, "there is no provider 'none' that this account may use"),
        (("create", "shop", "r", "--to", "smtp", "--failover", "none"), 1, "there is no provider 'none' that this"),
        (("create", "shop", "r", "--redirect", "a@b.c", "--to", "none"), 1, "there is no provider 'none' that this"),
        (
            ("create", "shop", "r", "--to", "smtp:x"),
            1,
            "the rule cannot be: action.targets[0].weight is 'x'; expected a whole number from 1 to 1000",
        ),
        (
            ("create", "shop", "r", "--reject", "450 later"),
            1,
            "the rule cannot be: action.code is 450; expected a whole number from 500 to 599",
        ),
        (
            ("create", "shop", "r", "--discard", "--recipient-domain", "a b"),
            1,
            "the rule cannot be: match.all[0].recipient_domain[0] is 'a b': Bad address: the domain is malformed",
        ),
        (
            ("create", "shop", "r", "--discard", "--credential", "none"),
            1,
            "account 'shop' has no credential 'none'; `credential list` shows its own",
        ),
        (
            ("create", "shop", "r"),
            2,
            "rule create: give one of --to, --reject, --hold, --discard, --redirect, or --file with a whole rule",
        ),
        (("create", "shop", "r", "--discard", "--hold", "x"), 2, "give one of --to, --reject, --hold, --discard"),
        (
            ("create", "shop", "r", "--discard", "--always", "--tag", "x"),
            2,
            "--always and conditions exclude each other",
        ),
        (
            ("create", "shop", "r", "--failover", "smtp"),
            2,
            "--sticky, --failover, --failover-on and --max-recipients go",
        ),
        (("create", "shop", "r", "--discard", "--header", "X-A"), 2, "--header 'X-A': expected NAME=TEXT"),
        (
            ("simulate", "shop", "--from", "x", "--to", "b@c.d"),
            2,
            "'x' is not an address: Bad address: an address needs",
        ),
        (("simulate", "shop", "--from", "", "--to", "y"), 2, "'y' is not an address"),
        (
            ("simulate", "shop", "--from", "", "--to", "b@c.d", "--message-file", "/none"),
            2,
            "--message-file /none: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    shop: Run, arguments: tuple[str, ...], code: int, says: str
) -> None:
    failed = shop("rule", *arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert failed.stderr.startswith(f"error: {says}")
    assert shop("rule", "list", "shop", "--json").stdout == "[]\n"


def test_a_taken_name_is_refused(shop: Run) -> None:
    for name in ("r", "s"):
        assert shop("rule", "create", "shop", name, "--discard").returncode == 0
    taken = "error: a rule of this name exists; choose another, or use `rule set`\n"
    assert shop("rule", "create", "shop", "r", "--discard").stderr == taken
    assert shop("rule", "set", "shop", "s", "--rename", "r").stderr == taken
