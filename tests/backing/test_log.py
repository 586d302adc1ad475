"""What a log line shows, and what it never shows."""

import json
import logging
import subprocess
import sys

import pytest

from backing.log import mask_secrets

LINES = """
import logging, structlog
from backing import log
log.configure("relay", "INFO")
structlog.get_logger().debug("unseen")
structlog.get_logger().info("seen", session="S", password="hush", api_token="hush", size=3)
logging.getLogger("botocore").info("unseen")
logging.getLogger("psycopg").warning("a library %s", "warns")
"""


def test_lines_are_json_with_service_level_and_time_and_without_secrets() -> None:
    run = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    own, library = (json.loads(line) for line in run.stdout.splitlines())
    assert own.pop("timestamp").endswith("Z")
    masked = {"password": "***", "api_token": "***"}
    assert own == {"event": "seen", "level": "info", "service": "relay", "session": "S", "size": 3} | masked
    assert (library["event"], library["level"], library["service"]) == ("a library warns", "warning", "relay")


@pytest.mark.parametrize("key", ["password", "Secret", "api_token", "Authorization", "private_key"])
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    assert mask_secrets(logging.getLogger(), "info", {key: "hush", "event": "x"}) == {key: "***", "event": "x"}
