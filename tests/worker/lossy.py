"""A bad way to AWS: what goes over it is lost, refused, kept, or done twice, as a script says."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

LOST = "lost"  # it is done, and the connection breaks before the answer
REFUSED = "refused"  # it is not done, and the answer is 500
KEPT = "kept"  # it is done, and no answer ever comes
TWICE = "twice"  # it is done twice, and the second answer counts
GOES = "goes"


@dataclass
class Lossy:
    """A way to `endpoint`.

    Attributes:
        script: what happens to the calls of an operation, one after the other; the last one repeats. Operations of S3
            are named by their method, such as PUT.
        calls: how many there were.
    """

    endpoint: str
    script: Mapping[str, Sequence[str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Give the URL of its near end."""
        self._over = asyncio.Event()
        async with aiohttp.ClientSession(auto_decompress=False) as self._http:
            app = web.Application(client_max_size=2**24)
            app.router.add_route("*", "/{path:.*}", self._carry)
            runner = web.AppRunner(app, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}"
            finally:
                self._over.set()
                await runner.cleanup()

    def happens(self, operation: str) -> str:
        self.calls[operation] += 1
        events = self.script.get(operation, (GOES,))
        return events[min(self.calls[operation], len(events)) - 1]

    async def _carry(self, request: web.Request) -> web.StreamResponse:
        operation = request.headers.get("X-Amz-Target", request.method).rpartition(".")[2]
        event = self.happens(operation)
        body = await request.read()
        if event == REFUSED:
            return web.Response(status=500)
        answer = await self._forward(request, body)
        if event == TWICE:
            answer = await self._forward(request, body)
        if event == KEPT:
            await self._over.wait()
        if event in {LOST, KEPT}:
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OWN}
        url = self.endpoint + request.raw_path
        async with self._http.request(request.method, url, headers=headers, data=body) as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() not in _OWN}
            return web.Response(status=answer.status, headers=told, body=await answer.read())


_OWN = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect"})
