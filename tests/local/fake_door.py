"""A door that does as files in the state folder say, and writes down what happens to it."""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

NAME = os.environ["FAKE_NAME"]  # noqa: TID251 - the door's settings
FOLDER = Path(os.environ["PGPASSFILE"]).parent.parent / "fake"  # noqa: TID251 - the door's settings
SICK, BROKEN = FOLDER / f"{NAME}.sick", FOLDER / f"{NAME}.broken"


def note(event: str) -> None:
    entry = {"name": NAME, "event": event, "at": time.time(), "environment": dict(os.environ)}  # noqa: TID251
    with (FOLDER / "events.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if SICK.exists() and self.path == "/readyz" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    note("started")
    if BROKEN.exists():
        sys.stderr.write("looking for the flux capacitor\nthere is none\n")
        return 3
    SICK.unlink(missing_ok=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["HEALTH_PORT"])), Health)  # noqa: TID251
    Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    note("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
