"""The worker as a process of its own: its exit statuses, and its sudden death."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from tests.worker.house import Books, Post, environment, make_job
from tests.worker.peer import HANG, Peer
from tests.worker.test_end_to_end import NOTHING, until

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@contextmanager
def started(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker"], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_wrong_environment_is_told_line_by_line() -> None:
    env = {"PATH": os.environ["PATH"], "WORKER_CONCURRENCY": "0"}  # noqa: TID251
    ended = subprocess.run(
        [sys.executable, "-m", "worker"], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (78, "")
    lines = ended.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "DATABASE_URL",
        "QUEUE_URL",
        "BODY_BUCKET",
        "WORKER_CONCURRENCY",
    ]


async def test_killed_while_sending_its_message_is_sent_by_the_next(books: Books, post: Post) -> None:
    async with Peer({".": [HANG, "250 2.0.0 taken"]}).serving() as peer:
        books.account(peer.config)
        jobs = [make_job(), make_job()]
        await post.put(*jobs)
        env = environment(books.url, post, WORKER_CONCURRENCY="1", WORKER_LEASE_SECONDS="3")
        with started(env) as first:

            async def sent() -> bool:
                return bool(peer.messages)

            await until(sent, 30)
            first.send_signal(signal.SIGKILL)
        assert books.states().count("sending") == 1
        with started(env) as second:

            async def done() -> bool:
                return books.states() == ["done", "done"] and await post.counts() == NOTHING

            await until(done, 40)
            second.send_signal(signal.SIGTERM)
            out, err = second.communicate(timeout=20)
    assert (second.returncode, err) == (0, "")
    assert json.loads(out.splitlines()[-1])["event"] == "drained"
    assert sorted(len(books.attempts(job.id)) for job in jobs) == [1, 2]
    assert [books.recipients(job.id) for job in jobs] == [[(0, "accepted", 250)]] * 2


async def test_health_says_whether_work_is_welcome(books: Books, post: Post) -> None:
    async with Peer({".": HANG}).serving() as peer:
        books.account(peer.config)
        await post.put(make_job())
        with started(environment(books.url, post, WORKER_LEASE_SECONDS="60")) as process:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["health"]

            def status(path: str) -> int:
                try:
                    with urllib.request.urlopen(f"http://{address}/{path}") as answer:
                        return int(answer.status)
                except urllib.error.HTTPError as refused:
                    refused.close()
                    return refused.code

            async def sent() -> bool:
                return bool(peer.messages)

            await until(sent, 30)
            assert (status("livez"), status("readyz"), status("metrics")) == (200, 200, 200)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status("readyz") == 503, 10, "it does not say that it drains")
            assert status("livez") == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
