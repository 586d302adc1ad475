"""The least that an HTTP API costs: FastAPI on uvicorn with a ready document: `python -m bench.bare_api`.

No key, no rate, no log, no headers of its own, no database. Prints its port as a JSON object.
"""

import asyncio
import json
import socket

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel


class Constant(BaseModel):
    """As large as the status of a message with one recipient."""

    state: str = "delivered"
    words: str = "x" * 1500


def app() -> FastAPI:
    made = FastAPI()
    constant = Constant()

    @made.get("/")
    async def show() -> Constant:
        return constant

    return made


def main() -> None:
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(app(), http="httptools", lifespan="off", log_config=None, access_log=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps({"port": bound.getsockname()[1]}), flush=True)
        runner.run(uvicorn.Server(config).serve([bound]))


if __name__ == "__main__":
    main()
