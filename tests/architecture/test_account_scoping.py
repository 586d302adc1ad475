"""Every statement that the API, the console and the operator's command reach keeps to an account, or says why not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from backing.postgres.sql import statements

ROOT = Path(__file__).parents[2]
DOORS = ("web.api.__main__", "web.console.__main__", "backing.__main__")
# What belongs to an account; an account belongs to itself.
OWNED = {
    "api_key",
    "api_request",
    "api_submission",
    "attempt",
    "audit_log",
    "credential",
    "credential_former",
    "credential_use",
    "delivery",
    "early_order",
    "inquiry",
    "message",
    "outbox",
    "provider",
    "provider_event",
    "recipient",
    "report",
    "routing_rule",
    "submission",
    "suppression",
    "webhook_delivery",
    "webhook_endpoint",
}
# Words that can stand where a table's other name would.
WORDS = {"as", "on", "set", "where", "join", "left", "cross", "order", "group", "for", "values", "select", "using"}
COMMENT = re.compile(r"--.*")
NAMED = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?!jsonb_|LATERAL\b)(\w+)(?=(?:\s+AS)?(?:\s+(\w+))?)", re.IGNORECASE)
# The account is a value, or part of each row of one; an account is found by its own name or id.
ANCHORS = re.compile(
    r"%\((account_id|asked_by)\)s|\baccount_id uuid\b|\baccount(\.name|\.id)? = |"
    r"(?s:(UPDATE|FROM|INTO) account\b.*(\b(name|id) = %\((name|id)\)s|%\(name\)s))"
)
ALL_OF_THEM = re.compile(r"%\((account_id|asked_by|name)\)s::\w+ IS NULL OR")
PARAMETER = re.compile(r"%\(\w+\)s")
SQL_TEXT = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")
_KEY = "the row of a key that was found by its own prefix, or with its account, just before"
_EVENT = "an event is a provider's; `events.match` gives that of an account no other account's mail"
_TENANTS_NAME_THEIRS = "null is an operator's question; `Caller.owner` and `Caller.account` give a tenant's own account"
# Statements that reach further than one account, each with what keeps it in bounds.
REASONS = {
    "accounts.list_accounts": _TENANTS_NAME_THEIRS + "; a default provider is one that the account may use",
    "accounts.lock_credential": _TENANTS_NAME_THEIRS,
    "accounts.note_uses": "the relay's: it notes credentials of all accounts that have signed in",
    "accounts.revoke_credential": _TENANTS_NAME_THEIRS,
    "accounts.show_account": "a default provider is one that the account may use",
    "audit.list": _TENANTS_NAME_THEIRS,
    "early.waiting": _TENANTS_NAME_THEIRS + "; orders of operators are for anyone's",
    "events.forget": _EVENT,
    "events.match": _EVENT,
    "events.pending": _EVENT,
    "events.record": _EVENT,
    "events.ses_providers": "the worker's: SES tells of all accounts on one topic",
    "inquiries.record": "the worker's: it answers what it has taken",
    "inquiries.reseal_endpoints": _TENANTS_NAME_THEIRS,
    "inquiries.reseal_providers": _TENANTS_NAME_THEIRS,
    "inquiries.settle": "the worker's: it answers what is asked of all accounts",
    "inquiries.take": "the worker's: it answers what is asked of all accounts",
    "keys.expire_key": _KEY,
    "keys.use_key": _KEY,
    "orders.duplicate": _TENANTS_NAME_THEIRS,
    "orders.lock": _TENANTS_NAME_THEIRS,
    "orders.owner": _TENANTS_NAME_THEIRS + "; an operator's order is noted under it",
    "outbox.take": "the worker's: it posts what is due of all accounts",
    "routing.list_providers": _TENANTS_NAME_THEIRS + "; shared providers are everybody's",
    "routing.telling_provider": "a provider calls under its own id, and the call is known by its signature",
    "stories.body": _TENANTS_NAME_THEIRS,
    "stories.story": _TENANTS_NAME_THEIRS,
    "submissions.accepted": _TENANTS_NAME_THEIRS,
}


def modules() -> list[str]:
    """All that a door imports, however far away."""
    graph = grimp.build_graph("web", "backing", "mail")
    return sorted(set(DOORS).union(*(graph.find_upstream_modules(door) for door in DOORS)))


def reachable() -> dict[str, str]:
    """The statements of those modules, without their comments."""
    found: dict[str, str] = {}
    for module in modules():
        file = ROOT.joinpath(*module.split(".")).with_suffix(".sql")
        if file.exists():
            short = module.rpartition(".")[2]
            found |= {f"{short}.{name}": COMMENT.sub("", text) for name, text in statements(str(file)).items()}
    return found


def unscoped(text: str) -> Iterator[str]:
    """What of a statement reaches further than an account."""
    if not ANCHORS.search(text) and NAMED.search(text):
        yield "it is asked for no account"
    if ALL_OF_THEM.search(text):
        yield "it may be asked for all accounts"
    bare = re.search(r"(?<![.\w])account_id\b", PARAMETER.sub("", text))
    for table, other in NAMED.findall(text):
        name = other if other and other.lower() not in WORDS else table
        if table.lower() in OWNED and not bare and not re.search(rf"\b{name}\.account_id\b", text):
            yield f"{name} is joined without its account"


def test_every_statement_keeps_to_an_account_or_says_why_not() -> None:
    found = reachable()
    assert len(found) > 90
    further = {name: list(unscoped(text)) for name, text in found.items() if list(unscoped(text))}
    assert sorted(further) == sorted(REASONS), further


def test_statements_are_where_they_are_read_from() -> None:
    """A statement in the midst of code would be read by nobody here."""
    stray = []
    for module in modules():
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(path.read_text())) if path.exists() else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_TEXT.search(node.value):
                stray += [
                    f"{module}: {table}" for table, _ in NAMED.findall(node.value) if table in OWNED | {"account"}
                ]
    assert stray == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT n FROM recipient WHERE message_id = %(id)s", "it is asked for no account"),
        ("DELETE FROM message WHERE id = ANY (%(ids)s)", "it is asked for no account"),
        (
            "SELECT r.n FROM message JOIN recipient AS r ON r.message_id = m.id WHERE m.account_id = %(account_id)s",
            "r is joined without its account",
        ),
        (
            "SELECT id FROM message WHERE (%(account_id)s::uuid IS NULL OR account_id = %(account_id)s)",
            "it may be asked for all accounts",
        ),
    ],
)
def test_what_reaches_further_is_seen(text: str, why: str) -> None:
    assert why in list(unscoped(text))
