"""Answers HTTP-01 challenges of an ACME server from the cache: any relay does, whoever asked for the certificate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from backing.cache import Cache
from backing.certificates.tokens import answer_to
from mail.errors import Unavailable


@asynccontextmanager
async def answering(host: str, port: int, cache: Cache) -> AsyncIterator[None]:
    """Answer while the block runs; 0 is no port at all.

    Args:
        host: address to bind.
        port: port to bind; the load balancer leads port 80 to it.
        cache: where the answers are.
    """
    if not port:
        yield
        return

    async def answer(request: web.Request) -> web.Response:
        try:
            found = await answer_to(cache, request.match_info["token"])
        except Unavailable:
            # The server asks again (RFC 8555, 8.2).
            return web.Response(status=503)
        if found is None:
            return web.Response(status=404)
        return web.Response(body=found, content_type="application/octet-stream")

    application = web.Application(client_max_size=0)
    application.add_routes([web.get("/.well-known/acme-challenge/{token}", answer)])
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
