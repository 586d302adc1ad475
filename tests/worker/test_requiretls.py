"""Mail that asks for TLS all the way, at a provider that has not what it takes (RFC 8689)."""

import pytest

from tests.worker.house import Books, Post, make_job
from tests.worker.peer import Peer
from tests.worker.test_end_to_end import Scene

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("tls", ["none", "opportunistic"])
async def test_a_provider_without_verified_tls_does_not_get_it(
    books: Books, post: Post, monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    scene = Scene(books, post, monkeypatch)
    async with Peer().serving() as peer:
        scene.books.account(peer.config | {"tls": tls})
        demanding, usual = make_job("b@far.example", "c@far.example", require_tls=True), make_job()
        await scene.post.put(demanding)
        async with scene.working():
            await scene.settled()
            assert peer.sessions == 0
            await scene.post.put(usual)
            await scene.settled()
    assert scene.books.recipients(demanding.id) == [(0, "failed", 550), (1, "failed", 550)]
    assert scene.books.attempts(demanding.id) == []
    assert scene.books.run("SELECT DISTINCT enhanced, reply FROM recipient WHERE message_id = %s", demanding.id) == [
        ("5.7.30", "REQUIRETLS support required")
    ]
    assert scene.books.recipients(usual.id) == [(0, "accepted", 250)]
