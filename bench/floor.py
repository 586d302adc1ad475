"""The floor: a bare uvloop protocol with ready-made replies, without checks: `python -m bench.floor FOLDER`.

What it takes is what sockets, the loop and TLS take on this machine; nothing in Python can be cheaper. It knows the
dialogues of `bench.load` and of an SMTP client, and no other. FOLDER has the certificate that `bench.server` made.
"""

import asyncio
import json
import signal
import ssl
import sys
from pathlib import Path
from typing import cast

import uvloop
from typing_extensions import override

from bench.machine import raise_file_limit

REPLIES = {
    b"EHLO": b"250-floor\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250 AUTH PLAIN\r\n",
    b"AUTH": b"235 2.7.0 OK\r\n",
    b"DATA": b"354 Go\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
OK = b"250 2.0.0 OK\r\n"


class Floor(asyncio.Protocol):
    """Answers each line; after DATA, the end of the message."""

    def __init__(self) -> None:
        self._input = b""
        self._in_data = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 floor\r\n")

    @override
    def data_received(self, data: bytes) -> None:
        self._input += data
        answers = []
        while (end := self._input.find(b"\r\n.\r\n" if self._in_data else b"\r\n")) >= 0:
            verb = b"" if self._in_data else self._input[:4]
            self._input = self._input[end + (5 if self._in_data else 2) :]
            self._in_data = verb == b"DATA"
            answers.append(REPLIES.get(verb, OK))
        if answers:
            self._transport.write(b"".join(answers))


async def serve(folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    servers = {
        "none": await loop.create_server(Floor, "127.0.0.1", 0),
        "implicit": await loop.create_server(Floor, "127.0.0.1", 0, ssl=context),
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    print(json.dumps({"ports": ports}), flush=True)
    await stop.wait()


if __name__ == "__main__":
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))
