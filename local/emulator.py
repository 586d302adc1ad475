"""The AWS APIs: ministack under uvicorn, in an environment of its own. `python -m local.emulator PORT [HOST]`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn  # type: ignore[import-not-found, unused-ignore] # lives in .local/emulator
from ministack import app as ministack  # type: ignore[import-not-found] # lives in .local/emulator
from ministack.core import persistence  # type: ignore[import-not-found] # lives in .local/emulator

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
SAVE_SECONDS = 15.0
SAVE_PATH = "/_local/save"


class Saving:
    """ministack saves only when it is told to stop; a lost machine would take keys and secrets with it."""

    def __init__(self) -> None:
        self._changed = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on, and remember that something may have changed."""
        if scope.get("path") == SAVE_PATH:
            self._save()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            return
        self._changed = self._changed or (scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"})
        await ministack.app(scope, receive, send)

    async def save(self) -> None:
        """Save now and then while there is something new."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if self._changed:
                self._save()

    def _save(self) -> None:
        self._changed = False
        persistence.save_all(ministack._build_persistence_save_dict())  # noqa: SLF001 - there is no public way


async def serve(saving: Saving, config: uvicorn.Config) -> None:
    """Serve until a signal comes; ministack saves its state as its last act."""
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        saver = group.create_task(saving.save())
        await server.serve()
        saver.cancel()


def main(port: int, host: str = "127.0.0.1") -> None:
    """Serve on the loop that uvicorn likes best."""
    saving = Saving()
    config = uvicorn.Config(
        saving,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        # A long poll whose client has gone would hold us for 20 s; what counts is that the state is saved.
        timeout_graceful_shutdown=1,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve(saving, config))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:3])
