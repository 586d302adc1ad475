import asyncio
import hashlib
import os
import pty
import re
import signal
import subprocess
from pathlib import Path

import pytest

from client.batch import Ledger, Pace
from client.errors import most_severe
from client.progress import interval
from client.report import percentile
from tests.client.postbox import ROOT, USER, Postbox, client, command, conversation, inside, to
from tests.client.test_failures import silence
from tests.waiting import wait_until

PLAIN = ("--tls", "none")


@pytest.mark.requirement("CLIENT-005")
@pytest.mark.requirement("CLIENT-012")
def test_a_batch_tells_progress_and_a_summary(starttls: Postbox) -> None:
    words = to(starttls.port, "--insecure", "--count", "25", "--rate", "50", "--concurrency", "2")
    done = client("batch", *words)
    assert done.code == 0, done.err
    assert len(starttls.received) == 25
    assert [line.partition(":")[0] for line in done.err.splitlines()] == ["10/25", "20/25", "25/25"]
    assert "25 of 25 accepted, 0 failed" in done.out
    assert re.search(r"milliseconds +count +P50 +P95 +P99", done.out)
    for phase in ("connect", "tls", "ehlo", "send", "total"):
        assert re.search(rf"^{phase} ", done.out, re.MULTILINE)
    rate = re.search(r"([\d.]+) messages/s", done.out)
    assert rate
    assert 25 < float(rate[1]) <= 53  # 25 messages leave within 24/50 s


@pytest.mark.requirement("CLIENT-012")
def test_json_is_one_document_with_every_message(starttls: Postbox) -> None:
    words = to(starttls.port, "--insecure", "--count", "12", "--user", USER, "--password", "s3cret pässword")
    done = client("batch", *words, "--json")
    document = done.document
    assert (done.code, document["exit_code"], document["summary"]["accepted"]) == (0, 0, 12)
    assert [entry["id"] for entry in document["messages"]] == list(range(1, 13))
    received = {hashlib.sha256(message.content).hexdigest() for message in starttls.received}
    assert {entry["sha256"] for entry in document["messages"]} == received
    assert {entry["queue_id"] for entry in document["messages"]} == {f"msg-{number}" for number in range(1, 13)}
    assert set(document["summary"]["latency_ms"]) == {"connect", "tls", "ehlo", "auth", "send", "total"}
    assert set(document["summary"]["latency_ms"]["send"]) == {"count", "p50", "p95", "p99"}


@pytest.mark.parametrize(
    ("words", "connections"),
    [(("--messages-per-connection", "3"), 3), (("--no-reuse",), 7), ((), 1)],
    ids=["some", "none", "all"],
)
def test_connections_are_reused_as_asked(plain: Postbox, words: tuple[str, ...], connections: int) -> None:
    done = inside("batch", *to(plain.port, *PLAIN, "--count", "7", "--concurrency", "1", "--json", *words))
    assert done.code == 0, done.err
    assert len({message.connection for message in plain.received}) == connections
    assert done.document["summary"]["connections"] == connections


def test_errors_are_counted_by_reply(plain: Postbox, tmp_path: Path) -> None:
    rows = tmp_path / "people.csv"
    rows.write_text("to\na@example.org\nunknown1@example.org\nlater@example.org\nunknown2@example.org\n")
    words = ["--host", "127.0.0.1", "--port", str(plain.port), *PLAIN, "--from", "app@example.com"]
    done = inside("batch", *words, "--vars", str(rows))
    assert done.code == 1
    assert "1 of 4 accepted, 3 failed" in done.out
    assert re.search(r"2 x 550 5.1.1 No such user\n +1 x 450 4.2.0 Try again later", done.out)


def test_a_wrong_password_is_tried_once(starttls: Postbox) -> None:
    done = inside("batch", *to(starttls.port, "--insecure", "--user", USER, "--json"), "--password", "wrong")
    assert done.code == 5
    assert len(done.document["messages"]) == 1
    assert done.document["summary"]["not_tried"] == 9
    assert "SMTP AUTH failed: 535" in done.err


@pytest.mark.parametrize("as_json", [True, False])
def test_an_interrupted_batch_tells_what_was_done(plain: Postbox, as_json: bool) -> None:  # noqa: FBT001
    words = to(plain.port, *PLAIN, "--count", "500", "--rate", "20", *(["--json"] if as_json else []))
    with subprocess.Popen(
        command("batch", *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        wait_until(lambda: len(plain.received) >= 2, 20, "nothing was sent")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 6, err
    assert ('"interrupted": true' if as_json else "(interrupted)") in out
    assert "Traceback" not in err


def test_an_interrupted_connection_ends_at_once() -> None:
    connected: list[bool] = []

    async def noticing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(True)
        await silence(reader, writer)

    with (
        conversation(noticing) as port,
        subprocess.Popen(command("send", *to(port)), stderr=subprocess.PIPE, text=True, cwd=ROOT) as process,
    ):
        wait_until(lambda: bool(connected), 20, "no connection")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 6
    assert "nothing was sent" in err


def test_a_terminal_gets_one_living_line(plain: Postbox) -> None:
    terminal, end = pty.openpty()
    done = subprocess.run(
        command("batch", *to(plain.port, *PLAIN, "--count", "5")),
        stderr=end,
        capture_output=False,
        check=True,
        cwd=ROOT,
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert shown.count("\r") >= 5
    assert shown.count("\n") == 1
    assert "5/5: 5 accepted" in shown


def test_quiet_says_nothing_when_all_is_well(plain: Postbox) -> None:
    done = inside("batch", *to(plain.port, *PLAIN, "--count", "2", "-q"))
    assert (done.code, done.out, done.err) == (0, "", "")


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 95, 99)] == [50, 95, 99]
    assert [percentile([7.0], percent) for percent in (50, 95, 99)] == [7, 7, 7]
    assert percentile([3.0, 1.0, 2.0], 50) == 2


def test_progress_of_a_large_batch_stays_readable() -> None:
    assert [interval(asked) for asked in (5, 100, 1999, 2000, 100_000)] == [10, 10, 10, 20, 1000]


def test_the_pace_is_even() -> None:
    assert [Pace(rate=10).due(index) for index in (1, 2, 11)] == [0.0, 0.1, 1.0]
    assert Pace().due(1000) == 0.0
    assert Ledger(asked=1).failures == []


def test_the_most_severe_error_gives_the_exit_code() -> None:
    assert most_severe([]) == 0
    assert most_severe([1, 3, 1]) == 3
    assert most_severe([1, 4, 5, 3]) == 4
