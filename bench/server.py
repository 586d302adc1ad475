"""The relay in a process of its own, with a queue that keeps nothing: `python -m bench.server FOLDER`.

Everything else is the product: sessions, TLS, checks, job, group commit, metrics, and log lines, which go to /dev/null.
Prints its ports as one JSON object. The relay asks for TLS before AUTH, so for the figures without TLS there is one
more listener, whose sessions are marked as secure when they arrive; from there on they take the product's own path.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import trustme
import uvloop
from typing_extensions import override

from backing import log
from backing.sqs import Outgoing
from bench.machine import raise_file_limit
from relay.server import RelayServer
from relay.smtp.dialogue import Dialogue
from tests.relay import house

_MOST_SESSIONS = 10_000


class OpenServer(RelayServer):
    """Takes sessions without TLS for secure ones."""

    @override
    def arrive(self, session: Dialogue) -> None:
        session.session.ssl = {"version": "none", "cipher": "none"}
        super().arrive(session)


class Nothing(list[Outgoing]):
    """Keeps nothing of what it is given."""

    @override
    def extend(self, _: Iterable[Outgoing]) -> None:
        return


class NoCounts(list[int]):
    @override
    def append(self, _: int) -> None:
        return


class NoBodies(dict[str, bytes]):
    @override
    def __setitem__(self, _: str, __: bytes) -> None:
        return


def files(folder: Path) -> house.Files:
    """A certificate authority and a certificate (ECDSA, P-256)."""
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(str(folder / "server.pem"), append=True)
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    return house.Files(ca, folder / "server.pem", folder / "server.key")


async def serve(folder: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    limits: dict[str, Any] = {"relay_max_connections": _MOST_SESSIONS}
    async with house.relay(files(folder), **limits) as running:
        running.queue.sent, running.queue.batches, running.bodies.stored = Nothing(), NoCounts(), NoBodies()
        async with OpenServer(running.house).listening() as plain:
            ports = {
                "none": plain.addresses[0][1],
                "starttls": running.port(),
                "implicit": running.port(implicit_tls=True),
            }
            print(json.dumps({"ports": ports, "ca": str(folder / "ca.pem"), "sign_in": house.PLAIN}), flush=True)
            await stop.wait()


def main(folder: Path) -> None:
    raise_file_limit()
    with Path("/dev/null").open("w", encoding="ascii") as nowhere:
        with redirect_stdout(nowhere):
            log.configure("relay", "INFO")
        run(folder)


def run(folder: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
