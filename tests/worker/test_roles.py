"""A worker that signs in to PostgreSQL with the role that a release gives it."""

from pathlib import Path

import pytest

from backing.ids import new_id
from tests.roles import as_role
from tests.worker.house import ACCOUNT, Books, Post, make_job
from tests.worker.peer import Peer
from tests.worker.test_end_to_end import Scene

pytestmark = pytest.mark.anyio


async def test_a_worker_delivers_defers_and_tells_with_a_role_of_its_own(
    books: Books, post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(books, post, monkeypatch)
    script = {"RCPT c@far.example": ["451 4.2.0 later", "250 ok"], "RCPT d@far.example": "550 5.1.1 unknown"}
    async with Peer(script).serving() as peer:
        books.account(peer.config)
        books.run(
            "INSERT INTO webhook_endpoint (id, account_id, url, secret) VALUES (%s, %s, 'https://127.0.0.1:1/', 'x')",
            new_id(),
            ACCOUNT,
        )
        job = make_job("b@far.example", "c@far.example", "d@far.example", dedupe=bytes(32))
        await post.put(job)
        async with scene.working(DATABASE_URL=as_role(books.url, "worker", tmp_path, monkeypatch)):
            await scene.settled()
    assert books.recipients(job.id) == [(0, "accepted", 250), (1, "accepted", 250), (2, "failed", 550)]
    assert books.run("SELECT type, count(*) FROM outbox GROUP BY type ORDER BY type") == [
        ("recipient.accepted", 2),
        ("recipient.deferred", 1),
        ("recipient.failed", 1),
    ]
    assert books.run("SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'smtp-proxy'") in (
        [("worker",)],
        [],
    )
