"""`message`: stories that are read by their ids, and searches that use their indexes."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backing.admin.desk import Desk
from backing.aws import Aws
from backing.ids import new_id
from backing.postgres import stories
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.states import State
from tests.backing.conftest import Run
from tests.backing.mailbook import BAKERY, BEGIN, SHOP, Mailbook

T0 = "2026-11-24T12:00:"


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


def age(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


@pytest.fixture
def story(book: Mailbook) -> UUID:
    """A message to three: one is delivered at the second attempt, one is rejected by a rule, one waits."""
    provider, rule = book.provider(), new_id()
    message = book.mail(
        provider, "deferred", "b@far.example", "c@bad.example", "d@far.example", delivery="deferred", stream="news"
    )
    book.run(
        "INSERT INTO routing_rule (id, account_id, name, priority, action) VALUES (%s, %s, 'no', 1, '{}')", rule, SHOP
    )
    book.run(
        "UPDATE message SET session = 's-1', header_message_id = '<1@shop.example>', tags = '{a,b}', accepted_at = %s,"
        " queued_at = %s, claimed_at = %s, expires_at = %s, body_bucket = 'b', body_key = 'k' WHERE id = %s",
        *(age(0), age(1), age(2), age(3600), message),
    )
    book.run("DELETE FROM attempt")
    for n, outcome, code, ns, reply in (
        (1, "temporary", 451, [0, 2], "later\x1b[31m"),
        (2, "accepted", 250, [0], "ok"),
    ):
        book.run(
            "INSERT INTO attempt (delivery_id, n, account_id, provider_id, ns, worker, started_at, finished_at,"
            " outcome, code, reply) VALUES (%s, %s, %s, %s, %s, 'w-1', %s, %s, %s, %s, %s)",
            *(message, n, SHOP, provider, ns, age(10 * n), age(10 * n + 0.5), outcome, code, reply),
        )
    for n, state, code, reply, at in (
        (0, "delivered", 250, "it has it", 30),
        (1, "failed", 550, "not there", 3),
        (2, "deferred", 451, "later", 10.5),
    ):
        book.run(
            "UPDATE recipient SET state = %s, code = %s, reply = %s, updated_at = %s WHERE message_id = %s AND n = %s",
            *(state, code, reply, age(at), message, n),
        )
    book.run("UPDATE recipient SET rule_id = %s, provider_id = NULL, dsn = 'failed' WHERE n = 1", rule)
    book.run("UPDATE recipient SET next_attempt_at = %s, tries = 1 WHERE n = 2", age(70))
    book.run(
        "INSERT INTO provider_event (provider_id, event_id, account_id, message_id, n, kind, address, occurred_at,"
        " effect, details) VALUES (%s, 'e', %s, %s, 0, 'delivered', '', %s, 'applied', %s),"
        " (%s, 'f', %s, %s, 0, 'opened', '', %s, 'stale', '{}')",
        *(provider, SHOP, message, age(25), json.dumps({"code": 250, "text": "it has it"})),
        *(provider, SHOP, message, age(40)),
    )
    told = new_id()
    book.run(
        "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
        " queued_at, expires_at) VALUES (%s, %s, 's-1', '', 1, sha256(''), false, false, %s, now(), now())",
        *(told, SHOP, age(3)),
    )
    book.run("INSERT INTO delivery (id, message_id, account_id) VALUES (%s, %s, %s)", told, told, SHOP)
    book.run(
        "INSERT INTO recipient (message_id, n, account_id, delivery_id, address)"
        " VALUES (%s, 0, %s, %s, 'a@shop.example')",
        *(told, SHOP, told),
    )
    return message


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.requirement("CORE-API-007")
def test_the_story_of_a_message_is_read_by_its_id(run: Run, story: UUID) -> None:
    shown = run("message", "show", str(story), "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    told: dict[str, Any] = json.loads(shown.stdout)
    recipients, timeline = told.pop("recipients"), told.pop("timeline")
    report = timeline[4].pop("message")
    assert told == {
        "id": str(story),
        "account_id": str(SHOP),
        "account": "shop",
        "credential": None,
        "session": "s-1",
        "mail_from": "a@shop.example",
        "size": 1,
        "header_message_id": "<1@shop.example>",
        "stream": "news",
        "tags": ["a", "b"],
        "smtputf8": False,
        "require_tls": False,
        "accepted_at": f"{T0}00+00:00",
        "queued_at": f"{T0}01+00:00",
        "claimed_at": f"{T0}02+00:00",
        "expires_at": "2026-11-24T13:00:00+00:00",
        "duplicate_of": None,
        "stored": True,
        "state": "pending",
        "cut": False,
    }
    assert [(each["n"], each["state"], each["rule"], each["dsn"], each["next_attempt_at"]) for each in recipients] == [
        (0, "delivered", None, None, None),
        (1, "failed", "no", "failed", None),
        (2, "deferred", None, None, "2026-11-24T12:01:10+00:00"),
    ]
    attempt = {"kind": "attempt", "provider": "ses-1", "worker": "w-1"}
    assert timeline == [
        {"at": f"{T0}00+00:00", "kind": "accepted"},
        {"at": f"{T0}01+00:00", "kind": "queued"},
        {"at": f"{T0}02+00:00", "kind": "claimed"},
        {"at": f"{T0}03+00:00", "kind": "decided", "recipients": [1], "outcome": "failed", "words": "not there"},
        {"at": f"{T0}03+00:00", "kind": "report", "outcome": "queued", "words": "a@shop.example"},
        attempt
        | {"at": f"{T0}10+00:00", "recipients": [0, 2], "outcome": "temporary", "code": 451, "words": "later\x1b[31m"}
        | {"ended_at": f"{T0}10.500000+00:00", "attempt": 1},
        attempt
        | {"at": f"{T0}20+00:00", "recipients": [0], "outcome": "accepted", "code": 250, "words": "ok"}
        | {"ended_at": f"{T0}20.500000+00:00", "attempt": 2},
        {"at": f"{T0}25+00:00", "kind": "event", "provider": "ses-1", "recipients": [0], "outcome": "delivered"}
        | {"code": 250, "words": "it has it"},
        {"at": f"{T0}40+00:00", "kind": "event", "provider": "ses-1", "recipients": [0], "outcome": "opened (stale)"},
    ]
    # A report is a message with a story of its own.
    assert json.loads(run("message", "show", report, "--json").stdout)["mail_from"] == ""


def test_a_story_is_told_to_people_and_nothing_in_it_is_obeyed_by_their_terminal(run: Run, story: UUID) -> None:
    text = run("message", "show", str(story)).stdout
    facts, recipients, moments = (lines(part) for part in text.split("\n\n"))
    assert facts[:3] == [["Message", str(story)], ["State", "pending"], ["Account", "shop", f"({SHOP})"]]
    assert recipients[1:] == [
        ["0", "b@far.example", "delivered", "ses-1", "0", "-", "-", "250", "it", "has", "it"],
        [
            *(["1", "c@bad.example", "failed", "(sender", "told:", "failed)", "-", "0", "-"]),
            "no",
            "550",
            "not",
            "there",
        ],
        ["2", "d@far.example", "deferred", "ses-1", "1", "2026-11-24T12:01:10.000", "-", "451", "later"],
    ]
    assert moments[6] == [*f"{T0}10.000 attempt 1 0,2 ses-1 temporary 0.500 s 451 later\ufffd[31m".split()]
    assert "\x1b" not in text


@pytest.mark.anyio
@pytest.mark.requirement("CORE-API-007")
async def test_another_accounts_message_is_as_unknown_as_none(book: Mailbook, story: UUID) -> None:
    async with Database(Settings(database_url=book.url), Aws("eu-central-1")).opened() as database:
        desk = Desk(database)

        async def told(message: UUID, account: UUID | None) -> stories.Story | None:
            async with desk.transaction() as connection:
                return await stories.tell(connection, message, account)

        assert await told(story, SHOP) is not None
        assert (await told(story, BAKERY), await told(new_id(), BAKERY)) == (None, None)


def test_what_cannot_be_told_is_said(run: Run, book: Mailbook) -> None:
    nobody = new_id()
    unknown = run("message", "show", str(nobody))
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith(f"error: there is no message {nobody}; a worker writes messages down when ")
    duplicate = book.mail(book.provider())
    book.run("UPDATE message SET duplicate_of = %s, account_id = %s WHERE id = %s", nobody, nobody, duplicate)
    text = lines(run("message", "show", str(duplicate)).stdout)
    assert text[1] == ["State", *f"duplicate of {nobody}; nothing is sent of it".split()]
    assert text[2] == ["Account", str(nobody), "(deleted)"]
    assert run("message", "list", "nobody").stderr == (
        "error: there is no account 'nobody'; `account list` shows those there are\n"
    )


def test_messages_are_searched_for(run: Run, book: Mailbook) -> None:
    provider = book.provider()
    made = [
        book.mail(provider, "accepted", "B@far.example"),
        book.mail(provider, "held", "b@far.example", "c@far.example", delivery="held"),
        book.mail(provider, "bounced", "c@far.example"),
        book.mail(provider, "accepted", "b@far.example", account_id=BAKERY),
    ]
    for n, message in enumerate(made):
        book.run(
            "UPDATE message SET accepted_at = %s, header_message_id = %s WHERE id = %s",
            *(age(60 * n), f"<{n}@shop.example>" if n else "0@shop.example", message),
        )

    def found(*options: str) -> list[int]:
        listed = run("message", "list", "shop", "--json", *options)
        assert listed.returncode == 0, listed.stderr
        return [made.index(UUID(each["id"])) for each in json.loads(listed.stdout)["messages"]]

    assert found() == [2, 1, 0]
    assert found("--recipient", "b@FAR.example") == [1, 0]
    assert found("--recipient", "b@far.example", "--state", "held") == [1]
    assert found("--recipient", "b@far.example", "--message-id", "2@shop.example") == []
    assert found("--message-id", "<0@shop.example>") == [0]
    assert found("--message-id", "1@shop.example") == [1]
    assert found("--message-id", "3@shop.example") == []
    assert found("--state", "bounced") == [2]
    assert found("--since", "2026-11-24T12:01:00Z") == [2, 1]
    assert found("--since", "2026-11-24T12:01:00", "--before", "2026-11-24T12:02:00") == [1]
    page = json.loads(run("message", "list", "shop", "--json", "--most", "2").stdout)
    assert page["before"] == "2026-11-24T12:01:00+00:00"
    assert found("--before", page["before"]) == [0]
    assert lines(run("message", "list", "shop").stdout)[1:] == [
        [f"{T0[:-3]}02:00.000", str(made[2]), *["bounced", "a@shop.example", "c@far.example", "<2@shop.example>"]],
        [
            *(f"{T0[:-3]}01:00.000", str(made[1]), "held", "a@shop.example"),
            *(["b@far.example", "and", "1", "more", "<1@shop.example>"]),
        ],
        [f"{T0[:-3]}00:00.000", str(made[0]), *["accepted", "a@shop.example", "B@far.example", "0@shop.example"]],
    ]


@pytest.mark.anyio
async def test_pages_of_a_search_join_without_a_gap(book: Mailbook, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = book.provider()
    made = [book.mail(provider, state) for state in ("held", "accepted", "held", "accepted", "accepted", "held")]
    book.run("UPDATE message SET accepted_at = %s", BEGIN)
    monkeypatch.setattr(stories, "MAX_LOOKED", 2)
    async with Database(Settings(database_url=book.url), Aws("eu-central-1")).opened() as database:
        for state, most in ((None, 2), (State.HELD, 1), (State.HELD, 5)):
            found: list[UUID] = []
            wanted = stories.Search(state=state, most=most)
            for _ in range(10):
                async with database.transaction() as connection:
                    page = await stories.search(connection, SHOP, wanted)
                found += [each.id for each in page.messages]
                if page.following is None:
                    break
                wanted = stories.Search(state=state, most=most, before=page.following)
            expected = made if state is None else [made[0], made[2], made[5]]
            assert found == expected[::-1]


def test_an_operator_lets_go_cancels_and_sends_once_more(run: Run, book: Mailbook) -> None:
    message = book.mail(book.provider(), "held", "b@far.example", "c@far.example", delivery="held")
    failed = book.mail(book.provider(), "failed")
    unstored = run("message", "retry", str(failed))
    assert (unstored.returncode, unstored.stderr) == (
        1,
        f"error: message {failed} cannot be sent once more: its body is not stored\n",
    )
    book.run("UPDATE message SET body_bucket = 'b', body_key = 'k'")
    assert run("message", "release", str(message), "--recipient", "1").stdout == (
        f"Message {message} is let go: it is sent by the account's rules, but held by none of them, for recipient 1.\n"
    )
    assert book.states(message) == ["held", "queued"]
    assert run("message", "cancel", str(message)).stdout == f"Message {message} is sent no more, for recipients 0, 1.\n"
    assert book.delivery(message) == ("done", True, True)
    book.run("UPDATE recipient SET state = 'expired' WHERE n = 0")
    assert run("message", "retry", str(message)).stdout == f"Message {message} is sent once more, for recipient 0.\n"
    assert book.states(message) == ["queued", "cancelled"]
    book.run("UPDATE delivery SET state = 'sending'")
    busy = run("message", "cancel", str(message))
    assert (busy.returncode, busy.stderr) == (1, f"error: message {message} is being sent; try again in a moment\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "1"), "argument ID: invalid UUID value: '1'"),
        (("list", "shop", "--since", "yesterday"), "'yesterday' is no time; expected 2026-11-24, 2026-11-24T12:00:00Z"),
        (("list", "shop", "--state", "lost"), "'lost'"),
        (("list", "shop", "--most", "0"), "'0': expected a whole number from 1 to 1000"),
        (("cancel", str(UUID(int=1)), "--recipient", "x"), "'x': expected a whole number from 0 to 100000"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("message", *arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


FILL = """
INSERT INTO message (id, account_id, session, mail_from, header_message_id, size, sha256, smtputf8, eight_bit,
                     accepted_at, queued_at, expires_at)
SELECT lpad(n::text, 32, '0')::uuid, lpad((n %% 3)::text, 32, '0')::uuid, 's', 'a', n::text, 1, sha256(''), false,
       false, now() - n * interval '1 minute', now(), now()
FROM generate_series(1, 20000) n;
INSERT INTO delivery (id, message_id, account_id) SELECT id, id, account_id FROM message;
INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state)
SELECT id, 0, account_id, id, header_message_id || '@far.example', 'accepted' FROM message;
INSERT INTO provider (id, name, kind, config)
SELECT lpad(n::text, 32, '0')::uuid, 'p' || n, 'ses', '{}' FROM generate_series(1, 3) n;
INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, provider_message_id)
SELECT id, 1, account_id, lpad((size + size %% 3)::text, 32, '0')::uuid, 'w', now(), header_message_id FROM message;
INSERT INTO provider_event (provider_id, event_id, account_id, message_id, n, kind, address, occurred_at, effect)
SELECT account_id, id, account_id, id, 0, 'opened', '', now(), 'stale' FROM message;
ANALYZE message, delivery, recipient, attempt, provider_event
"""


@pytest.mark.requirement("CORE-API-007")
def test_a_story_and_every_search_use_indexes(book: Mailbook) -> None:
    book.run(FILL)
    values: dict[str, object] = {
        "id": UUID(int=1),
        "account_id": SHOP,
        "asked_by": SHOP,
        "session": "s",
        "recipient": "7@far.example",
        "header_ids": ["7", "<7>"],
        "provider_ids": ["8", "<8>"],
        "since": datetime.now(UTC) - timedelta(hours=1),
        "before": None,
        "before_id": UUID(int=(1 << 128) - 1),
        "ids": [UUID(int=7)],
        "state": None,
        "most": 50,
    }
    plans = {}
    with psycopg.connect(book.url) as connection:
        connection.execute("SET random_page_cost = 1.1")
        for name in stories.SQL:
            asked = values | ({"header_ids": None, "recipient": None} if name == "by_provider" else {})
            plan = connection.execute(b"EXPLAIN " + stories.SQL[name].encode(), asked).fetchall()
            plans[name] = "\n".join(row[0] for row in plan)
    tables = ("message", "delivery", "recipient", "attempt", "provider_event")
    scanned = {(name, table) for name, plan in plans.items() for table in tables if f"Seq Scan on {table}" in plan}
    assert scanned == set(), [plans[name] for name, _ in scanned]
    assert "message_account_time" in plans["by_time"]
    assert "recipient_address" in plans["by_recipient"]
    assert "message_header_id" in plans["by_header"]
    assert "attempt_provider_message" in plans["by_provider"]
    assert "message_account_time" in plans["story"]


def test_orders_are_noted_under_the_account_of_the_message(book: Mailbook, run: Run) -> None:
    message, coming = book.mail(book.provider(), "deferred", delivery="deferred"), new_id()
    held = run("message", "hold", str(message))
    assert (held.returncode, held.stdout) == (0, f"Message {message} is held, for recipient 0.\n")
    ahead = run("message", "cancel", str(coming))
    words = f"No worker has message {coming} yet; the order is noted, and obeyed before it is sent.\n"
    assert (ahead.returncode, ahead.stdout) == (0, words)
    credential = run("credential", "create", "shop", "--username", "till")
    assert credential.returncode == 0, credential.stderr
    assert run("credential", "revoke", "till").returncode == 0
    assert book.run("SELECT action, subject, account_id FROM audit_log ORDER BY id") == [
        ("message.hold", str(message), SHOP),
        ("message.cancel", str(coming), None),
        ("credential.create", "till", SHOP),
        ("credential.revoke", "till", SHOP),
    ]
    assert book.run("SELECT message_id, what, actor FROM early_order") == [(coming, "cancel", "operator command")]
    shown = json.loads(run("message", "show", str(message), "--json").stdout)["recipients"]
    assert [(each["ordered"], each["by_order"]) for each in shown] == [("hold", None)]
