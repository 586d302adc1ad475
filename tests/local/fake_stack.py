"""`python -m local` with fake doors over a real cache: quick to start, and easy to upset."""

import sys
from pathlib import Path

from local.__main__ import main
from local.parts import Door

STATE = Path(sys.argv[sys.argv.index("--state") + 1])
FAKE = "tests.local.fake_door"
DOORS = (
    Door(
        "relay",
        8081,
        FAKE,
        ports={"RELAY_STARTTLS_PORT": 2587},
        sources=(str(STATE / "sources"),),
        settings={"FAKE_NAME": "relay", "LOG_LEVEL": "INFO"},
        needs=("valkey",),
    ),
    Door("worker", 8082, FAKE, settings={"FAKE_NAME": "worker"}, needs=("relay",), sources=(str(STATE / "nothing"),)),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], DOORS, "tests.local.fake_stack"))
