"""The life of a door as an HTTP server: listen, serve, drain, stop."""

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from backing.certificates.bootstrap import bootstrap
from backing.certificates.material import load
from backing.ids import now
from backing.stop import Stop
from mail.errors import Unavailable
from web.edge import Condition
from web.settings import WebSettings

_BACKLOG: Final = 2048
_MIGRATION_POLL_SECONDS: Final = 1.0


class _Server(uvicorn.Server):
    """uvicorn's server, without its hold of the signals; says when it listens."""

    def __init__(self, config: uvicorn.Config, condition: Condition) -> None:
        super().__init__(config)
        self._condition = condition

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._condition.listening = True


def listener(host: str, port: int) -> socket.socket:
    """Bind the address that requests come in on.

    Raises:
        OSError: it is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    # Head and body of an answer are two writes; connections inherit that the second does not wait for the first.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


async def serve(app: ASGIApp, settings: WebSettings, condition: Condition, stop: Stop) -> None:
    """Serve until told to stop; then answer what has come, and no more (SC-10.2).

    A load balancer sends requests for a moment after it was told not to, so for the grace all are answered still, each
    with `Connection: close`. Then the listener closes and what is being answered has until the hard end.
    """
    log, bound = structlog.get_logger(), listener(settings.web_host, settings.web_port)
    server = _Server(_config(app, settings), condition)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([bound]))
        host, port = bound.getsockname()[:2]
        log.info("serving", address=f"{host}:{port}")
        stopping = tasks.create_task(stop.soon.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        told = time.monotonic()
        condition.draining = True
        log.info("stopping")
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.web_grace_seconds):
                await stop.now.wait()
        server.should_exit = True
        hurrying = tasks.create_task(_hurry(server, stop))
        await serving
        hurrying.cancel()
        condition.listening = False
    log.info("stopped", seconds=round(time.monotonic() - told, 1))


async def _hurry(server: uvicorn.Server, stop: Stop) -> None:
    """Wait for nobody any more once it is asked for again."""
    await stop.now.wait()
    server.force_exit = True


def _config(app: ASGIApp, settings: WebSettings) -> uvicorn.Config:
    networks = [str(network) for network in settings.web_proxy_networks]
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(networks),
        forwarded_allow_ips=networks,
        timeout_keep_alive=settings.web_keep_alive_seconds,
        timeout_graceful_shutdown=settings.web_drain_seconds,
        ssl_context_factory=(lambda *_: _context(settings.web_hostname)) if settings.web_tls else None,
    )


def _context(hostname: str) -> ssl.SSLContext:
    """What requests are taken over: who calls cannot check the certificate, and nobody on the way can read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, bootstrap(hostname, now()))
    return context


async def await_migration(migrated: Callable[[], Awaitable[bool]], condition: Condition) -> None:
    """Ask until the schema is as new as this code needs it; never again after that."""
    said = False
    while not condition.migrated:
        try:
            condition.migrated = await migrated()
            reason = "the schema is older than this code"
        except Unavailable as fault:
            reason = str(fault)
        if not condition.migrated:
            if not said:
                structlog.get_logger().warning("not ready yet", reason=reason)
            said = True
            await asyncio.sleep(_MIGRATION_POLL_SECONDS)
