"""`webhook`: endpoints of an account as an operator keeps them; and suppressions of one stream."""

import json
from uuid import UUID

import pytest

from backing.ids import new_id
from tests.backing.conftest import Run
from tests.backing.mailbook import Mailbook

URL = "https://hooks.example.com/mail"


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


def made(run: Run, *options: str) -> str:
    said = run("webhook", "create", "shop", URL, "--json", *options)
    assert said.returncode == 0, said.stderr
    issued = json.loads(said.stdout)
    assert issued["secret"].startswith("whsec_")
    return str(UUID(issued["id"]))


def test_an_endpoint_is_made_shown_and_removed_and_its_secret_is_said_once(run: Run, book: Mailbook) -> None:
    said = run("webhook", "create", "shop", URL)
    issued = dict(line.split(maxsplit=1) for line in said.stdout.splitlines()[:2])
    assert said.stdout.splitlines()[2].startswith("The secret is shown only now")
    endpoint, other = issued["Endpoint"], made(run, "--type", "recipient.bounced", "--type", "recipient.failed")
    rows = json.loads(run("webhook", "list", "shop", "--json").stdout)
    assert [(row["id"], row["url"], row["types"], row["enabled"], row["waiting"]) for row in rows] == [
        (endpoint, URL, None, True, 0),
        (other, URL, ["recipient.bounced", "recipient.failed"], True, 0),
    ]
    assert [line.split() for line in run("webhook", "list", "shop").stdout.splitlines()[1:]] == [
        [endpoint, "enabled", "0", "-", "all", URL],
        [other, "enabled", "0", "-", "recipient.bounced,", "recipient.failed", URL],
    ]
    shown = run("webhook", "show", "shop", endpoint).stdout
    assert issued["Secret"] not in shown + run("webhook", "list", "shop", "--json").stdout
    rotated = json.loads(run("webhook", "rotate", "shop", endpoint, "--overlap-hours", "2", "--json").stdout)
    assert (rotated["id"], rotated["secret"] != issued["Secret"]) == (endpoint, True)
    assert book.run(
        "SELECT previous_secret IS NOT NULL, previous_until BETWEEN now() + interval '119 minutes' AND now() +"
        " interval '2 hours' FROM webhook_endpoint WHERE id = %s",
        endpoint,
    ) == [(True, True)]
    assert run("webhook", "delete", "shop", endpoint).stdout == f"Endpoint {endpoint} is removed.\n"
    assert [row["id"] for row in json.loads(run("webhook", "list", "shop", "--json").stdout)] == [other]


def test_an_endpoint_is_switched_tested_and_replayed_to(run: Run, book: Mailbook) -> None:
    endpoint = made(run)
    message = book.mail(book.provider(), "accepted")
    assert run("webhook", "disable", "shop", endpoint).returncode == 0
    assert "disabled: an operator disabled it" in run("webhook", "show", "shop", endpoint).stdout
    book.run("UPDATE recipient SET state = 'bounced' WHERE message_id = %s", message)
    assert run("webhook", "enable", "shop", endpoint).returncode == 0
    tested = run("webhook", "test", "shop", endpoint).stdout
    book.run("UPDATE webhook_delivery SET state = 'failed', last_status = 500, last_text = %s", "o\x1b[0mps")
    assert run("webhook", "replay", "shop", endpoint, "--since", "1h").stdout == (
        f"2 events are posted to endpoint {endpoint} once more, beside those that wait already.\n"
    )
    shown = json.loads(run("webhook", "show", "shop", endpoint, "--json").stdout)
    assert (shown["enabled"], shown["waiting"]) == (True, 2)
    assert {(post["type"], post["state"]) for post in shown["newest"]} == {
        ("endpoint.test", "failed"),
        ("recipient.accepted", "pending"),
        ("recipient.bounced", "pending"),
    }
    (test,) = [post["event"] for post in shown["newest"] if post["type"] == "endpoint.test"]
    assert tested == f"Event {test} is on its way to endpoint {endpoint}; `webhook show` tells what became of it.\n"
    text = run("webhook", "show", "shop", endpoint).stdout
    assert "o\ufffd[0mps" in text
    wrong = run("webhook", "replay", "shop", endpoint, "--since", "2026-11-24", "--until", "2026-11-23")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "error: --until 2026-11-23T00:00:00+00:00: is not after --since 2026-11-24T00:00:00+00:00\n",
    )


def test_an_endpoint_is_changed(run: Run, book: Mailbook) -> None:
    endpoint = made(run, "--type", "recipient.bounced")
    book.run("UPDATE webhook_endpoint SET failing_since = now()")
    changes: list[tuple[list[str], str, list[str] | None, bool]] = [
        (
            ["--type", "recipient.failed", "--type", "recipient.bounced"],
            URL,
            ["recipient.bounced", "recipient.failed"],
            True,
        ),
        (["--all-types"], URL, None, True),
        # What failed there says nothing of another place.
        (["--url", f"{URL}/2", "--type", "recipient.failed"], f"{URL}/2", ["recipient.failed"], False),
    ]
    for options, *expected in changes:
        changed = run("webhook", "set", "shop", endpoint, *options)
        assert (changed.returncode, changed.stdout) == (0, f"Endpoint {endpoint} is changed.\n")
        row = json.loads(run("webhook", "show", "shop", endpoint, "--json").stdout)
        assert [row["url"], row["types"], row["failing_since"] is not None] == expected
    kept = run("webhook", "show", "shop", endpoint, "--json").stdout
    wrong: list[tuple[list[str], int, str]] = [
        (["--url", "https://10.0.0.1/"], 1, "10.0.0.1 is not an address on the public internet"),
        (["--url", "http://hooks.example.com/"], 1, "a URL must begin with https://"),
        ([], 2, "say what is to be changed: --url, --type or --all-types"),
    ]
    for options, code, why in wrong:
        refused = run("webhook", "set", "shop", endpoint, *options)
        assert (refused.returncode, refused.stderr) == (code, f"error: {why}\n")
    assert run("webhook", "show", "shop", endpoint, "--json").stdout == kept


def test_what_cannot_be_done_is_said(run: Run, book: Mailbook) -> None:
    endpoint, nobody = made(run), str(new_id())
    for verb, *options in (
        ("show",),
        ("rotate",),
        ("set", "--url", URL),
        ("enable",),
        ("disable",),
        ("delete",),
        ("replay", "--since", "1h"),
        ("test",),
    ):
        for account, name in (("shop", nobody), ("bakery", endpoint)):
            said = run("webhook", verb, account, name, *options)
            assert (said.returncode, said.stderr) == (
                1,
                f"error: account '{account}' has no endpoint {name}; `webhook list` shows those there are\n",
            )
    private = run("webhook", "create", "shop", "https://10.0.0.1/")
    assert private.returncode == 1
    assert "10.0.0.1" in private.stderr
    assert run("webhook", "create", "shop", "https://10.0.0.1/", WEBHOOK_ALLOWED_NETWORKS="10.0.0.0/8").returncode == 0
    assert book.run("SELECT count(*) FROM webhook_endpoint") == [(2,)]


def test_a_suppression_may_be_of_one_stream(run: Run, book: Mailbook) -> None:
    added = run("suppression", "add", "shop", "b@far.example", "--stream", "news")
    assert added.stdout == "shop sends to this address no more in stream news.\n"
    run("suppression", "add", "shop", "b@far.example", "--stream", "offers", "--reason", "unsubscribe")
    run("suppression", "add", "shop", "b@far.example")
    assert book.suppressed() == [
        ("shop", stream, "b@far.example", reason, "operator")
        for stream, reason in (("", "manual"), ("news", "manual"), ("offers", "unsubscribe"))
    ]
    removed = run("suppression", "remove", "shop", "B@far.example", "--stream", "news")
    assert removed.stdout == "shop may send to B@far.example again in stream news.\n"
    again = run("suppression", "remove", "shop", "b@far.example", "--stream", "news")
    assert (again.returncode, again.stderr) == (
        1,
        "error: b@far.example is not suppressed for shop in stream news; `suppression list` shows what is\n",
    )
    assert [row[1] for row in book.suppressed()] == ["", "offers"]
    assert run("suppression", "remove", "shop", "b@far.example").returncode == 0
    assert book.suppressed() == []


def test_a_stream_that_no_message_can_have_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("suppression", "add", "shop", "b@far.example", "--stream", "my news")
    assert "'my news' is no stream; expected up to 64 letters, digits and . _ -" in capsys.readouterr().err
