"""Recipients of one message go the ways that the account's rules say, fail over, and are never sent to twice for it."""

from typing import Any

import pytest
from psycopg.types.json import Jsonb

from backing.ids import new_id
from tests.worker.house import ACCOUNT, BODY, Books, Post, make_job
from tests.worker.peer import DROP, Peer
from tests.worker.test_end_to_end import Scene

pytestmark = [pytest.mark.anyio, pytest.mark.long]

STUFFED = BODY.replace(b"\r\n.", b"\r\n..")


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


def provide(books: Books, name: str, peer: Peer) -> None:
    books.run(
        "INSERT INTO provider (id, account_id, name, kind, config) VALUES (%s, %s, %s, 'smtp', %s)",
        new_id(),
        ACCOUNT,
        name,
        Jsonb(peer.config),
    )


def rule(books: Books, priority: int, action: dict[str, Any], **match: Any) -> None:
    books.run(
        "INSERT INTO routing_rule (id, account_id, name, priority, match, action) VALUES (%s, %s, %s, %s, %s, %s)",
        new_id(),
        ACCOUNT,
        f"rule-{priority}",
        priority,
        Jsonb({"all": [{name: value} for name, value in match.items()]}),
        Jsonb(action),
    )


def words(books: Books) -> list[tuple[Any, ...]]:
    return books.run(
        "SELECT recipient.n, recipient.state, provider.name, recipient.reply FROM recipient"
        " LEFT JOIN provider ON provider.id = recipient.provider_id ORDER BY message_id, n"
    )


async def test_each_recipient_goes_its_own_way(scene: Scene) -> None:
    async with Peer().serving() as main, Peer().serving() as other:
        scene.books.account(main.config)
        provide(scene.books, "other", other)
        rule(scene.books, 1, {"type": "route", "targets": [{"provider": "other"}]}, recipient_domain=["far.example"])
        rule(scene.books, 2, {"type": "reject", "code": 550, "text": "not there"}, recipient_domain=["bad.example"])
        rule(scene.books, 3, {"type": "hold", "reason": "to be looked at"}, recipient_domain=["odd.example"])
        rule(scene.books, 4, {"type": "discard"}, recipient_domain=["null.example"])
        rule(scene.books, 5, {"type": "redirect", "to": "dev@near.example"}, recipient_domain=["dev.example"])
        addresses = [f"x@{name}.example" for name in ("far", "bad", "odd", "null", "dev", "near")]
        job = make_job(*addresses)
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert words(scene.books) == [
        (0, "accepted", "other", "2.0.0 taken"),
        (1, "failed", None, "not there"),
        (2, "held", None, "held by a rule: to be looked at"),
        (3, "discarded", None, "discarded by a rule"),
        (4, "accepted", "main", "2.0.0 taken"),
        (5, "accepted", "main", "2.0.0 taken"),
    ]
    assert [command for command in other.commands if command.startswith("RCPT")] == ["RCPT TO:<x@far.example>"]
    assert sorted(command for command in main.commands if command.startswith("RCPT")) == [
        "RCPT TO:<dev@near.example>",
        "RCPT TO:<x@near.example>",
    ]
    assert (main.messages, other.messages) == ([STUFFED] * 2, [STUFFED])
    assert scene.books.delivery(job.id) == ("held", 3, 0, 1)
    assert await scene.post.stored() == [f"bodies/{job.id}"]


FAILOVER = {"type": "route", "targets": [{"provider": "main"}], "failover": ["other"]}


@pytest.mark.parametrize(
    ("script", "expected", "ways"),
    [
        ({"MAIL": "421 4.3.0 busy"}, "accepted", ["provider_down", "accepted"]),
        ({"MAIL": "550 5.7.1 who are you"}, "accepted", ["misconfigured", "accepted"]),
        ({".": "454 4.7.0 throttling"}, "accepted", ["throttled", "accepted"]),
        ({"RCPT": "550 5.1.1 unknown"}, "failed", ["permanent"]),
        ({"RCPT": "451 4.2.0 later"}, "deferred", ["temporary"]),
        ({".": DROP}, "unknown", ["unknown"]),
    ],
)
async def test_the_next_provider_is_asked_for_the_first_ones_trouble_and_for_nothing_else(
    scene: Scene, script: dict[str, str], expected: str, ways: list[str]
) -> None:
    async with Peer(script).serving() as main, Peer().serving() as other:
        scene.books.account(main.config)
        provide(scene.books, "other", other)
        rule(scene.books, 1, FAILOVER)
        job = make_job()
        await scene.post.put(job)
        async with scene.working(WORKER_RETRY_SECONDS="[600]", WORKER_UNKNOWN_SECONDS="600"):
            await scene.shows({"accepted": "done", "failed": "done"}.get(expected, expected))
    assert [state for _, state, _ in scene.books.recipients(job.id)] == [expected]
    assert [outcome for _, outcome, _ in scene.books.attempts(job.id)] == ways
    assert len(other.messages) == (expected == "accepted")


async def test_what_is_unknown_is_sent_again_through_the_same_provider_only(scene: Scene) -> None:
    script = {".": [DROP, "454 4.7.0 throttling", "250 2.0.0 taken"]}
    async with Peer(script).serving() as main, Peer().serving() as other:
        scene.books.account(main.config)
        provide(scene.books, "other", other)
        rule(scene.books, 1, FAILOVER)
        job = make_job()
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert [outcome for _, outcome, _ in scene.books.attempts(job.id)] == ["unknown", "throttled", "accepted"]
    assert other.messages == []
    assert scene.books.recipients(job.id) == [(0, "accepted", 250)]


@pytest.mark.parametrize("down_first", [True, False])
async def test_what_one_provider_does_not_take_waits_for_one_that_is_down(scene: Scene, down_first: bool) -> None:  # noqa: FBT001
    down, strict = {"MAIL": ["421 4.3.0 busy", "250 ok"]}, {"DATA": "554 5.6.0 no such content here"}
    scripts = (down, strict) if down_first else (strict, down)
    async with Peer(scripts[0]).serving() as main, Peer(scripts[1]).serving() as other:
        scene.books.account(main.config)
        provide(scene.books, "other", other)
        rule(scene.books, 1, FAILOVER)
        job = make_job()
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert scene.books.recipients(job.id) == [(0, "accepted", 250)]
    outcomes = [outcome for _, outcome, _ in scene.books.attempts(job.id)]
    if down_first:
        assert outcomes == ["provider_down", "message_permanent", "accepted"]
    else:
        assert outcomes == ["message_permanent", "provider_down", "message_permanent", "accepted"]


async def test_suppressed_recipients_are_not_sent_to_and_the_others_are(scene: Scene) -> None:
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        scene.books.run(
            "INSERT INTO suppression (account_id, address, reason, source) VALUES (%s, 'b@far.example', 'bounce', 'x')",
            ACCOUNT,
        )
        job = make_job("B@far.example", "c@far.example")
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert words(scene.books) == [
        (0, "suppressed", None, "the account does not send to this address: bounce"),
        (1, "accepted", "main", "2.0.0 taken"),
    ]
    assert [command for command in peer.commands if command.startswith("RCPT")] == ["RCPT TO:<c@far.example>"]


async def test_blind_copies_stay_blind(scene: Scene) -> None:
    body = b"From: a@shop.example\r\nBcc: secret@far.example,\r\n other@far.example\r\nTo: b@far.example\r\n\r\nhi\r\n"
    async with Peer().serving() as peer:
        scene.books.account(peer.config)
        await scene.post.put(make_job("b@far.example", "secret@far.example", body=body))
        async with scene.working():
            await scene.settled()
    assert peer.messages == [b"From: a@shop.example\r\nTo: b@far.example\r\n\r\nhi\r\n"]
