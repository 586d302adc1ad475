"""A provider is tested from a command line, which waits for what a worker says."""

import json

import pytest

from tests.backing.mailbook import Mailbook
from tests.client.api.terminal import Terminal
from tests.web.house import Door
from tests.web.working import working
from tests.worker.peer import Peer

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(book: Mailbook) -> None:
    book.run("UPDATE account SET allowed_domains = ARRAY[name || '.example']")


async def test_a_test_is_waited_for_and_shown_step_by_step(
    operator: Terminal, door: Door, book: Mailbook, shop: None, post: dict[str, str]
) -> None:
    del door, shop
    async with Peer({"RCPT": ["250 ok", "550 5.1.1 unknown"]}).serving() as met, working(book.url, post["kms"]):
        host, port = "host=127.0.0.1", f"port={met.port}"
        config = ("--config", host, "--config", port, "--config", "tls=none")
        made = await operator("providers", "create", "main", "--account", "shop", "--kind", "smtp", *config)
        assert made.code == 0, made
        test = ("providers", "test", "main", "--account", "shop")
        checked = await operator(*test)
        mail = ("--from", "a@shop.example", "--to", "b@far.example")
        sent = await operator(*test, *mail)
        refused = await operator(*test, *mail, "--json")
        begun = await operator(*test, "--no-wait")
        id_ = json.loads((await operator(*test, "--no-wait", "--json")).out)["id"]
        later = await operator("providers", "test-result", "main", id_, "--account", "shop")
    assert (checked.code, checked.err) == (0, "")
    assert checked.lines[:3] == ["main: done: Mail would go through.", "", "  STEP  OK  SECONDS  WORDS"]
    assert [line.split("  ")[1:3] for line in checked.lines[3:-2]] == [
        [step, "yes"] for step in ("settings", "resolve", "connect", "greeting")
    ]
    assert checked.lines[-1] == "test UUID"
    assert (sent.code, sent.lines[0]) == (0, "main: done: The provider has taken the mail.")
    assert "  b@far.example  accepted  250  2.0.0 taken" in sent.lines
    assert (refused.code, json.loads(refused.out)["state"]) == (1, "failed")
    assert refused.err == "smtp-proxy: it did not go well; what came of it is told above\n"
    assert (begun.code, begun.lines) == (0, ["main: waiting", "", "test UUID"])
    assert later.code == 0
    assert later.lines[0].startswith("main: ")


async def test_what_is_asked_too_often_is_told(operator: Terminal, door: Door, shop: None) -> None:
    del door, shop
    await operator("providers", "create", "main", "--account", "shop", "--kind", "sandbox")
    ran = [await operator("providers", "test", "main", "--account", "shop", "--no-wait") for _ in range(7)]
    assert [each.code for each in ran] == [0, 0, 0, 0, 0, 0, 1]
    assert "was tested 6 times in 60 seconds" in ran[-1].err


async def test_secrets_are_sealed_anew(operator: Terminal, door: Door, book: Mailbook, post: dict[str, str]) -> None:
    del door
    secret = operator.key_file("hush-hush", "secret")
    make = ("providers", "create", "main", "--account", "shop", "--kind", "sandbox", "--secret-file", str(secret))
    assert (await operator(*make)).code == 0
    assert (await operator("providers", "reseal", "main", "--account", "shop")).lines[-4].startswith("reseal.state")
    assert (await operator("providers", "reseal-all")).told == (0, "0 secrets are to be sealed anew\n", "")
    assert (await operator("webhooks", "reseal-all")).out == "the secrets of 0 endpoints are to be sealed anew\n"
    async with working(book.url, post["kms"]):
        shown = await operator("providers", "secret", "main", "--account", "shop")
    assert shown.lines[0] == "secret  yes"
