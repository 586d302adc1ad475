"""Stand-ins for providers that take everything: `python -m bench.takers`.

An SMTP server (`bench.floor`) and the one call of SES that sends mail, both with ready-made answers. Prints where they
are as one JSON object.
"""

import asyncio
import json
import signal
from itertools import count

import uvloop
from typing_extensions import override

from bench.floor import Floor
from bench.machine import raise_file_limit
from bench.posts import Posts


class Ses(Posts):
    """Answers each POST, whatever is in it, with a name of its own."""

    _numbers = count()

    @override
    def take(self, head: bytes, body: bytes) -> None:
        self.answer(b'{"MessageId":"%036d"}' % next(self._numbers))


async def serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    smtp, ses = await loop.create_server(Floor, "127.0.0.1", 0), await loop.create_server(Ses, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (smtp, ses)]
    print(json.dumps({"smtp": ports[0], "ses": f"http://127.0.0.1:{ports[1]}"}), flush=True)
    await stop.wait()


if __name__ == "__main__":
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
