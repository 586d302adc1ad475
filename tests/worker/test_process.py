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
from typing import Any

import pytest

from backing.health import version
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


@pytest.mark.requirement("CORE-API-006")
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

            def document(path: str) -> Any:
                with urllib.request.urlopen(f"http://{address}/{path}") as answer:
                    return json.load(answer)

            async def sent() -> bool:
                return bool(peer.messages)

            await until(sent, 30)
            assert (status("livez"), status("readyz"), status("metrics")) == (200, 200, 200)
            told = document("readyz")
            assert (told["status"], told["version"], told["pool"]["waiting"]) == ("ready", version(), 0)
            assert told["pool"]["size"] >= told["pool"]["available"]
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status("readyz") == 503, 10, "it does not say that it drains")
            assert status("livez") == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


@pytest.mark.requirement("CORE-OPS-002")
async def test_new_settings_are_taken_while_it_works(books: Books, post: Post, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("WORKER_CONCURRENCY=1\n")
    async with Peer({".": HANG}).serving() as peer:
        books.account(peer.config)
        await post.put(make_job(), make_job())
        with started(environment(books.url, post, SETTINGS_FILE=str(file), WORKER_LEASE_SECONDS="60")) as process:

            async def first() -> bool:
                return len(peer.messages) == 1

            async def both() -> bool:
                return len(peer.messages) == 2

            await until(first, 30)
            file.write_text("WORKER_CONCURRENCY=none\n")
            process.send_signal(signal.SIGHUP)
            assert said(process, "settings not reloaded")["reason"].startswith("WORKER_CONCURRENCY: ")
            assert len(peer.messages) == 1
            file.write_text("WORKER_CONCURRENCY=2\nWORKER_RETENTION_DAYS=3\nLOG_LEVEL=WARNING\nWORKER_POLL_SECONDS=2\n")
            process.send_signal(signal.SIGHUP)
            await until(both, 30)
            file.write_text("WORKER_CONCURRENCY=2\nLOG_LEVEL=INFO\nWORKER_HOSTNAME=other\n")
            process.send_signal(signal.SIGHUP)
            again = said(process, "settings reloaded")
    assert again["taken"] == ["LOG_LEVEL", "WORKER_RETENTION_DAYS"]
    assert again["needs_a_restart"] == ["WORKER_HOSTNAME"]


def said(process: "subprocess.Popen[str]", event: str) -> dict[str, Any]:
    """The next line of the log that tells of something."""
    assert process.stdout is not None
    lines = (json.loads(line) for line in process.stdout)
    found: dict[str, Any] = next(line for line in lines if line["event"] == event)
    return found
