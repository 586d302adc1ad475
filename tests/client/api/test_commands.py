"""What people see who call the API from a command line."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import boto3
import pytest

from backing.ids import new_id
from tests.backing.mailbook import SHOP, Mailbook
from tests.client.api.terminal import Terminal, hidden
from tests.conftest import REGION
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio
NOTHING = UUID(int=7)


async def test_accounts(operator: Terminal) -> None:
    made = await operator(
        *("accounts", "create", "mill", "--domain", "mill.example", "--domain", "corn.example"),
        *("--kind", "smtp", "--config", "host=mail.example.net", "--quota", "day:messages=10", "--max-sessions", "5"),
        *("--secret-file", str(operator.key_file("hush-hush", "secret")), "--username", "mill-1"),
    )
    assert (made.code, made.err) == (0, "the secret is shown only now\n")
    assert made.lines[:-1] == [
        "account.name  mill",
        "account.id  UUID",
        "account.disabled  no",
        "account.allowed_domains  corn.example, mill.example",
        "account.provider  smtp",
        "account.on_unknown  resend",
        "account.check_from  no",
        "account.repair_line_ends  no",
        "account.max_sessions  5",
        "account.quotas.day.messages  10",
        "account.retry_seconds  -",
        "account.expiry_seconds  -",
        "account.send_dsn  yes",
        "account.delay_notice_seconds  -",
        "account.retention_days  -",
        "account.archive  no",
        "account.rules  0",
        "account.credentials  1",
        "account.suppressed  0",
        "username  mill-1",
    ]
    assert len(made.lines[-1].removeprefix("password  ")) == 43
    assert (await operator("accounts", "list")).told == (
        0,
        (
            "NAME    ALLOWED DOMAINS             PROVIDER  DISABLED  CREDENTIALS\n"
            "bakery  -                           -         no        0\n"
            "mill    corn.example, mill.example  smtp      no        1\n"
            "shop    -                           -         no        0\n"
        ),
        "",
    )
    shown = await operator("accounts", "show", "mill")
    etag = shown.lines[-1].removeprefix("etag  ")
    change = ("accounts", "change", "mill", "--if-match", etag)
    changed = await operator(*change, "--quota", "day:messages=none", "--max-sessions", "none", "--archive", "yes")
    facts = dict(line.split("  ") for line in changed.lines)
    assert [facts.get(name) for name in ("quotas", "max_sessions", "archive")] == ["-", "-", "yes"]
    late = await operator(*change, "--archive", "no")
    assert late.code == 1
    assert late.err.startswith("smtp-proxy: Precondition Failed (412): it was changed since you read it; read it again")
    assert (await operator("accounts", "disable", "mill")).lines[2] == "disabled  yes"
    stale = await operator("accounts", "delete", "mill", "--if-match", etag)
    assert (stale.code, hidden(stale.err)) == (1, hidden(late.err))
    assert (await operator("accounts", "delete", "mill")).told == (
        0,
        "credentials    1\nproviders      1\nrouting_rules  0\nsuppressed     0\n",
        "",
    )


async def test_what_an_account_signs_in_with(operator: Terminal, door: Door) -> None:
    of = ("--account", "shop")
    made = await operator("credentials", "create", *of, "--username", "shop-1", "--network", "192.0.2.0/24")
    assert (made.code, made.lines[0], made.err) == (0, "username  shop-1", "the secret is shown only now\n")
    new = await operator("credentials", "rotate", "shop-1", *of, "--overlap-hours", "2")
    assert (new.code, new.lines[0], new.err) == (0, "username  shop-1", "the secret is shown only now\n")
    assert new.lines[1] != made.lines[1]
    ends = ("--certificate-name", "till.example", "--expires-at", "2099-02-01T00:00:00Z")
    assert (await operator("credentials", "create", *of, "--username", "till", *ends)).code == 0
    assert (await operator("credentials", "revoke", "shop-1", *of)).told == (0, "shop-1 signs in no more\n", "")
    assert (await operator("credentials", "list", *of)).lines == [
        "USERNAME  PASSWORD  NETWORKS  CERTIFICATE NAME  REVOKED  CREATED  EXPIRES AT  LAST USED AT  ROTATING UNTIL",
        "shop-1  generated  192.0.2.0/24  -  yes  TIME  -  -  TIME",
        "till  generated  -  till.example  no  TIME  TIME  -  -",
    ]
    key = await operator("keys", "create", "ci", *of, "--scope", "rules:read", "--scope", "keys:write")
    prefix, token = (line.split("  ")[1] for line in key.lines)
    assert (await door.get("/api/v1/rules", token)).status == 200
    assert (await operator("keys", "list", *of)).lines[1].startswith(f"{prefix}  ci  keys:write, rules:read  TIME  -")
    rotated = await operator("keys", "rotate", prefix, *of, "--overlap-hours", "0", "--json")
    assert set(json.loads(rotated.out)) == {"prefix", "key"}
    operator.profile("tenant", door.url, json.loads(rotated.out)["key"])
    own = await operator("keys", "rotate-own", "shop", "--overlap-hours", "0")
    assert (own.code, own.err) == (0, "the secret is shown only now\n")
    assert (await operator("rules", "list")).told[:2] == (77, "")
    operator.profile("tenant", door.url, own.lines[1].split("  ")[1])
    last = own.lines[0].split("  ")[1]
    assert (await operator("keys", "revoke", last)).told == (0, f"{last} is good no more\n", "")


async def test_where_mail_goes_out(operator: Terminal) -> None:
    secret, of = str(operator.key_file("hush-hush", "secret")), ("--account", "shop")
    made = await operator(
        *("providers", "create", "main", "--kind", "smtp", "--config", "host=mail.example.net"),
        *("--limit", "rate=5", "--secret-file", secret),
    )
    assert made.told == (
        0,
        (
            "name              main\n"
            "account           -\n"
            "kind              smtp\n"
            "enabled           yes\n"
            "version           1\n"
            "secret            yes\n"
            "allowed_domains   -\n"
            "id                UUID\n"
            "limits.rate       5\n"
            "config.host       mail.example.net\n"
            "secret_sealed_at  TIME\n"
            "secret_key        arn:aws:kms:eu-central-1:123456789012:key/UUID\n"
        ),
        "",
    )
    await operator("providers", "change", "main", "--limit", "rate=null", "--domain", "shop.example")
    assert (await operator("providers", "set-secret", "main", "--no-secret")).out == "the secret of main is changed\n"
    assert (await operator("providers", "list")).lines == [
        "NAME  ACCOUNT  KIND  ENABLED  SECRET  ALLOWED DOMAINS  VERSION",
        "main  -  smtp  yes  no  shop.example  3",
    ]
    assert (await operator("providers", "change", "main", "--any-domain")).lines[6] == "allowed_domains  -"
    action = '{"type": "route", "targets": [{"provider": "main"}]}'
    match = '{"all": [{"recipient_domain": "far.example"}]}'
    await operator("rules", "create", "far", *of, "--priority", "2", "--match", match, "--action", action)
    body = operator.home / "rule.json"
    body.write_text(json.dumps({"priority": 9, "action": {"type": "hold", "reason": "look at it"}}))
    await operator("rules", "create", "rest", *of, "--body", str(body), "--priority", "3")
    assert (await operator("rules", "list", *of)).lines == [
        "PRIORITY  NAME  ENABLED  MATCH  ACTION  VERSION",
        f"2  far  yes  {match}  {action}  1",
        "3  rest  yes  -  type=hold, reason=look at it  1",
    ]
    assert (await operator("rules", "simulate", *of, "--to", "b@far.example", "--to", "b@near.example")).told == (
        0,
        (
            "b@far.example: send by main\n"
            "  2  far   decides\n"
            "  3  rest  matches, after another one decided\n"
            "b@near.example: hold look at it\n"
            "  2  far   does not match: recipient_domain: near.example is none of far.example\n"
            "  3  rest  decides\n"
        ),
        "",
    )
    assert (await operator("rules", "delete", "far", *of)).told == (0, "far is deleted\n", "")
    health = await operator("providers", "health", "main")
    assert (health.code, health.lines[:2]) == (0, ["name  main", "enabled  yes"])
    assert (await operator("providers", "delete", "main")).told == (0, "main is deleted\n", "")


async def test_suppressions(tenant: Terminal) -> None:
    file = tenant.home / "list"
    file.write_text("# those who left\n\nA@b.example\nc@d.example \n")
    assert (await tenant("suppressions", "import", str(file), "--reason", "unsubscribe")).told == (
        0,
        "2 suppressed\n",
        "",
    )
    assert (await tenant("suppressions", "add", "e@f.example", "--stream", "news")).out == "1 suppressed\n"
    assert (await tenant("suppressions", "remove", "a@b.example")).out == "1 suppressed no more\n"
    listed = (await tenant("suppressions", "list", "--limit", "10")).lines
    (who,) = {line.split("  ")[2] for line in listed[1:]}
    assert re.fullmatch("key [a-z2-7]{12}", who)
    assert listed == [
        "ADDRESS  REASON  SOURCE  SINCE  UNTIL  STREAM",
        f"e@f.example  manual  {who}  TIME  -  news",
        f"c@d.example  unsubscribe  {who}  TIME  -  -",
    ]
    exported = await tenant("suppressions", "export", "--format", "jsonl")
    assert [json.loads(line)["address"] for line in exported.out.splitlines()] == ["c@d.example", "e@f.example"]
    first = await tenant("suppressions", "list", "--limit", "1", "--all", "--json")
    assert [len(json.loads(page)["items"]) for page in first.out.splitlines()][:2] == [1, 1]
    many = "".join(f"{n}@far.example\n" for n in range(2500))
    assert (await tenant("suppressions", "import", "-", stdin=many)).out == "2500 suppressed\n"
    broken = await tenant("suppressions", "import", "-", stdin=many + "nobody\n")
    assert (broken.code, broken.out) == (1, "")
    assert broken.err.endswith("(after 2000 that were taken)\n")


@pytest.mark.parametrize("format_", ["csv", "jsonl"])
async def test_what_is_exported_can_be_imported(tenant: Terminal, format_: str) -> None:
    await tenant("suppressions", "add", "a@b.example", '"x,y"@b.example')
    await tenant("suppressions", "add", "a@b.example", "--stream", "news", "--reason", "unsubscribe")
    await tenant("suppressions", "add", "c@d.example", "--until", "2927-01-31T00:00:00Z", "--reason", "bounce")
    export = ("suppressions", "export", "--format", format_)
    before = (await tenant(*export)).out
    for address in ("a@b.example", '"x,y"@b.example', "c@d.example"):
        await tenant("suppressions", "remove", address)
    assert (await tenant("suppressions", "list")).lines == []
    assert (await tenant("suppressions", "import", "-", stdin=before)).told == (0, "4 suppressed\n", "")
    since = re.compile(r"[0-9T:-]+[.][0-9]+Z")
    assert since.sub("", (await tenant(*export)).out) == since.sub("", before)
    file = tenant.home / "list"
    file.write_text(before)
    assert (await tenant("suppressions", "import", str(file), "--reason", "complaint")).out == "4 suppressed\n"
    assert {line.split("  ")[1] for line in (await tenant("suppressions", "list")).lines[1:]} == {"complaint"}


@pytest.mark.parametrize(
    "text", ["address,reason\na@b.example\n", '{"address": "a@b.example"}\nx\n', '{"reason": "x"}\n']
)
async def test_a_list_that_is_broken_is_told_before_it_is_sent(terminal: Terminal, text: str) -> None:
    terminal.profile("nowhere", "http://127.0.0.1:9", "key")
    ran = await terminal("suppressions", "import", "-", stdin=text)
    assert (ran.code, ran.out, ran.err.startswith("smtp-proxy: -: ")) == (2, "", True)


async def test_webhooks_and_the_audit_log(tenant: Terminal) -> None:
    made = await tenant("webhooks", "create", "https://hooks.example.com/a", "--type", "recipient.bounced")
    hook = made.out.split()[1]
    assert (made.code, made.err) == (0, "the secret is shown only now\n")
    assert (await tenant("webhooks", "test", hook)).told == (0, "UUID is on its way\n", "")
    assert (await tenant("webhooks", "replay", hook, "--since", "1d")).told[:2] == (0, "0 are posted once more\n")
    changed = await tenant("webhooks", "change", hook, "--url", "https://hooks.example.com/b", "--all-types")
    assert (changed.code, changed.lines[1:4]) == (0, ["url  https://hooks.example.com/b", "types  -", "enabled  yes"])
    assert (await tenant("webhooks", "disable", hook)).told == (0, "UUID is posted to no more\n", "")
    assert (await tenant("webhooks", "list")).lines[1].startswith("UUID  https://hooks.example.com/b  -  no")
    assert (await tenant("webhooks", "deliveries", hook)).lines[0].startswith("TIME  EVENT  TYPE  STATE")
    assert (await tenant("webhooks", "delete", hook)).told == (0, "UUID is removed\n", "")
    log = await tenant("audit", "list", "--limit", "2", "--all")
    assert [line.split("  ")[3] for line in log.lines] == [
        "ACTION",
        "webhook.delete",
        "webhook.disable",
        "webhook.change",
        "webhook.test",
        "webhook.create",
    ]


async def test_dead_letters(terminal: Terminal, chosen: Chosen, book: Mailbook, moto_url: str) -> None:
    sqs: Any = boto3.client("sqs", endpoint_url=moto_url, region_name=REGION)
    dead = sqs.create_queue(QueueName=f"dead-{NOTHING.hex}")["QueueUrl"]
    ids = [
        sqs.send_message(
            QueueUrl=dead,
            MessageBody=json.dumps({"v": 1, "id": str(new_id()), "account_id": str(SHOP)}),
            MessageAttributes={"Reason": {"DataType": "String", "StringValue": f"reason {n}"}},
        )["MessageId"]
        for n in range(3)
    ]
    async with serving(chosen(dead_letter_queue_url=dead)) as door:
        terminal.profile("operator", door.url, await door.key())
        listed = await terminal("dead-letters", "list")
        assert listed.lines[0] == "QUEUED AT  ID  MESSAGE  ACCOUNT  REASON  RECEIVES  SIZE"
        assert sorted(line.split("  ")[4] for line in listed.lines[1:]) == ["reason 0", "reason 1", "reason 2"]
        assert (await terminal("dead-letters", "drop", ids[0])).told == (0, "UUID is deleted\n", "")
        one = await terminal("dead-letters", "redrive", ids[1])
        assert one.out == "1 are on the delivery queue again, 0 were set aside again\n"
        rest = await terminal("dead-letters", "redrive", "--all", "--json")
        assert rest.out == '{"done":1,"came_back":0}\n'
        assert (await terminal("dead-letters", "list")).told == (0, "", "there are none\n")
    assert book.run("SELECT action FROM audit_log ORDER BY id") == [
        (action,) for action in ("deadletter.drop", "deadletter.redrive", "deadletter.redrive")
    ]


async def test_on_a_terminal_tables_fit_it(tenant: Terminal) -> None:
    await tenant("suppressions", "add", "a@b.example", "--stream", "news")
    ours, theirs = os.openpty()
    words = (*tenant.command, "suppressions", "list")
    environment = {**tenant.environment, "COLUMNS": "100", "TERM": "dumb"}
    process = await asyncio.create_subprocess_exec(*words, stdout=theirs, env=environment)
    assert await process.wait() == 0
    lines = [" ".join(line.split()) for line in hidden(os.read(ours, 4096).decode()).splitlines()]
    os.close(theirs)
    os.close(ours)
    assert lines[0] == "ADDRESS REASON SOURCE SINCE UNTIL STREAM"
    assert re.fullmatch("a@b.example manual key [a-z2-7]{12} TIME - news", lines[1])
    assert len(lines) == 2


async def test_dead_letters_are_for_operators(operator: Terminal, door: Door) -> None:
    none = await operator("dead-letters", "list")
    assert (none.code, "there is no dead-letter queue" in none.err) == (1, True)
    assert (await operator("dead-letters", "redrive")).told == (2, "", "smtp-proxy: name letters, or give --all\n")
    operator.profile("shop", door.url, await door.key("shop"))
    assert (await operator("dead-letters", "redrive", "--all")).code == 77


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["keys", "create", "x", "--rate-per-minute", "0"], "body/rate_per_minute: Input should be greater than"),
        (["suppressions", "add", "a@b.example", "--until", "1e9"], "body/until: a time is a text"),
        (["rules", "simulate", "--to", "a@b.example", "--size", "-1"], "body/size: Input should be greater than"),
    ],
)
async def test_what_is_wrong_where_is_told(tenant: Terminal, words: list[str], told: str) -> None:
    ran = await tenant(*words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"smtp-proxy: Unprocessable Entity (422): the request is not as it should be: {told}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["accounts"],
        ["accounts", "fly"],
        ["accounts", "show"],
        ["accounts", "show", ".."],
        ["accounts", "show", ""],
        ["messages", "search", "--limit", "x"],
        ["messages", "search", "--state", "x"],
        ["messages", "submit", "no-such-file", "--letter"],
        ["rules", "create", "x", "--match", "{"],
        ["rules", "create", "x", "--body", "/dev/null"],
        ["accounts", "create", "x", "--quota", "day=7"],
        ["accounts", "create", "x", "--provider", "y", "--kind", "smtp"],
        ["providers", "create", "x", "--config", "host"],
        ["suppressions", "import", "/dev/null"],
        ["messages", "search", "--prof", "shop"],
    ],
    ids=" ".join,
)
async def test_what_cannot_be_is_told_before_it_is_sent(terminal: Terminal, words: list[str]) -> None:
    terminal.profile("nowhere", "http://127.0.0.1:9", "key")
    ran = await terminal(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err != ""


async def test_the_profiles_account_is_meant_where_none_is_named(
    terminal: Terminal, door: Door, tmp_path: Path
) -> None:
    terminal.profile("operator", door.url, await door.key(), account="shop")
    assert (tmp_path / "key-operator").stat().st_mode & 0o777 == 0o600
    await terminal("suppressions", "add", "a@b.example")
    assert (await terminal("suppressions", "list", "--account", "bakery")).told == (0, "", "there are none\n")
    assert len((await terminal("suppressions", "list")).lines) == 2
    refused = await terminal("suppressions", "list", "--account", "")
    assert "an operator's key acts for all accounts; name one" in refused.err


async def test_certificates_of_relays_that_serve_from_files(operator: Terminal) -> None:
    assert (await operator("certificates", "list")).told == (0, "", "there are none\n")
