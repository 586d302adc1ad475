"""The health and metrics endpoint of a process: GET /livez, /readyz, /metrics.

Liveness and readiness never ask the database, the queue or the cache: one outage there must not restart the fleet.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import metadata

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

_ACCESS_LOG_OFF = None


@asynccontextmanager
async def serving(
    host: str,
    port: int,
    ready: Callable[[], bool],
    registry: CollectorRegistry,
    remarks: Callable[[], Mapping[str, object]] = dict,
) -> AsyncIterator[tuple[str, int]]:
    """Serve the endpoint while the block runs; gives the address it is bound to.

    Args:
        host: address to bind.
        port: port to bind, 0 for any free one.
        ready: whether new work is welcome; False makes /readyz answer 503.
        registry: what /metrics shows.
        remarks: what /readyz says besides, such as what the process has to do without; it decides nothing.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive", "version": version()})

    async def readyz(_: web.Request) -> web.Response:
        state = ready()
        answer = {"status": "ready" if state else "draining", "version": version(), **remarks()}
        return web.json_response(answer, status=200 if state else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    # Who still reads metrics at the end may not hold up a process that has its time to leave.
    runner = web.AppRunner(application, access_log=_ACCESS_LOG_OFF, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield bound[0], bound[1]
    finally:
        await runner.cleanup()


def version() -> str:
    """The release of the product, as far as it is known."""
    try:
        return metadata.version("smtp-proxy")
    except metadata.PackageNotFoundError:
        return "unreleased"
