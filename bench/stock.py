"""The baseline: aiosmtpd as it comes, under uvloop, keeping nothing: `python -m bench.stock FOLDER`.

FOLDER has the certificate that `bench.server` made. Prints its ports as one JSON object.
"""

import asyncio
import json
import logging
import signal
import ssl
import sys
import warnings
from pathlib import Path

import uvloop
from aiosmtpd.smtp import SMTP, AuthResult

from bench.machine import raise_file_limit


class Discard:
    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd calls it by this name
        return "250 OK"


async def serve(certificate: Path, key: Path) -> None:
    # It warns of what this baseline is made of, for each connection; those lines are not part of its work.
    warnings.simplefilter("ignore")
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def session(starttls: ssl.SSLContext | None = None) -> SMTP:
        return SMTP(
            Discard(),
            tls_context=starttls,
            require_starttls=starttls is not None,
            auth_required=True,
            # It takes TLS before the greeting for none at all.
            auth_require_tls=False,
            authenticator=lambda *_: AuthResult(success=True),
            data_size_limit=50_000_000,
            loop=loop,
        )

    servers = {
        "none": await loop.create_server(session, "127.0.0.1", 0),
        "implicit": await loop.create_server(session, "127.0.0.1", 0, ssl=context),
        "starttls": await loop.create_server(lambda: session(context), "127.0.0.1", 0),
    }
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    print(json.dumps({"ports": ports}), flush=True)
    await stop.wait()


if __name__ == "__main__":
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1], "server.pem"), Path(sys.argv[1], "server.key")))
