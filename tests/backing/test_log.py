"""What a log line shows, and what it never shows."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backing.log import Lines, secrets_among

LINES = """
import logging, structlog
from backing import log
log.configure("relay", "INFO")
early = structlog.get_logger().bind(session="S")
early.debug("unseen")
early.info("seen", password="hush", api_token="hush", size=3, odd=b"\\xff", name="\\u00fc")
logging.getLogger("botocore").info("unseen")
logging.getLogger("psycopg").warning("a library %s", "warns")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("broke")
    logging.getLogger("asyncio").exception("library broke")
log.set_level("DEBUG")
early.debug("seen now")
log.set_level("ERROR")
early.warning("unseen")
structlog.get_logger().info("unseen")
structlog.get_logger().error("seen still", exc_info=ValueError("x"))
structlog.get_logger().critical("the end")
"""


def lines() -> list[dict[str, Any]]:
    run = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_lines_are_json_with_service_level_and_time_and_without_secrets() -> None:
    own, library, *_ = lines()
    age = datetime.now(UTC) - datetime.fromisoformat(own.pop("timestamp"))
    assert timedelta() < age < timedelta(seconds=60)
    masked = {"password": "***", "api_token": "***"}
    shown = {"event": "seen", "level": "info", "service": "relay", "session": "S", "size": 3, "odd": "b'\\xff'"}
    assert own == shown | masked | {"name": "ü"}
    assert (library["event"], library["level"], library["service"]) == ("a library warns", "warning", "relay")


def test_an_exception_is_shown_with_its_traceback() -> None:
    _, _, own, library, *_ = lines()
    for line, event in ((own, "broke"), (library, "library broke")):
        assert (line["event"], line["level"]) == (event, "error")
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("ZeroDivisionError: division by zero")
        assert "exc_info" not in line


def test_the_level_can_be_changed_for_all_loggers_at_any_time() -> None:
    later = lines()[4:]
    assert [(line["event"], line["level"]) for line in later] == [
        ("seen now", "debug"),
        ("seen still", "error"),
        ("the end", "critical"),
    ]


@pytest.mark.parametrize("key", ["password", "Secret", "api_token", "Authorization", "private_key"])
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    assert secrets_among(("event", key)) == (key,)
    assert json.loads(Lines("relay")(None, "info", {key: "hush", "event": "x"}))[key] == "***"


def test_other_keys_hide_nothing() -> None:
    assert secrets_among(("event", "user", "session", "account", "size", "result")) == ()


ODD = """
import structlog
from backing import log
from backing.signing import Keys
log.configure("relay", "INFO")
logger = structlog.get_logger().bind(session="S", peer="P")
logger.info("first")
logger.info("second", session="T")
logger.info("huge", number=2**70)
logger.info("half", text="a\\ud800b")
logger.info("keys", keys=Keys("id", "hush", "hush"))
logger.bind(api_token="hush").info("bound", quoted='"\\n\\x7f\\u2028')
"""


def test_odd_facts_are_written_and_a_fact_of_the_event_goes_before_a_bound_one() -> None:
    run = subprocess.run([sys.executable, "-c", ODD], capture_output=True, check=True)
    assert b"hush" not in run.stdout
    found = [json.loads(line, object_pairs_hook=list) for line in run.stdout.splitlines()]
    assert all(len({name for name, _ in pairs}) == len(pairs) for pairs in found)
    shown = [{name: value for name, value in pairs if name not in {"timestamp", "level", "service"}} for pairs in found]
    bound = {"session": "S", "peer": "P"}
    assert shown == [
        bound | {"event": "first"},
        bound | {"event": "second", "session": "T"},
        bound | {"event": "huge", "number": 2**70},
        bound | {"event": "half", "text": "a\ud800b"},
        bound | {"event": "keys", "keys": "Keys(access_key='id')"},
        bound | {"event": "bound", "api_token": "***", "quoted": '"\n\x7f\u2028'},
    ]
