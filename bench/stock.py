"""The baseline: aiosmtpd as it comes, under uvloop, keeping nothing. `python -m bench.stock PORT CERTIFICATE KEY`."""

import asyncio
import ssl
import sys

import uvloop
from aiosmtpd.smtp import SMTP, AuthResult


class Discard:
    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd calls it by this name
        return "250 OK"


async def main(port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        return SMTP(
            Discard(),
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=lambda *_: AuthResult(success=True),
            data_size_limit=50_000_000,
            loop=loop,
        )

    server = await loop.create_server(session, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), *sys.argv[2:]))
