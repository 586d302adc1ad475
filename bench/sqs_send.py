"""CPU of handing ten jobs to SQS: the SDK's call against the relay's own: `python -m bench.sqs_send`.

A stand-in for SQS runs as a process of its own, so that only the client's part is in the figures.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from statistics import median

import uvloop
from aiohttp import web

from backing.aws import Aws
from backing.sqs import MAX_BATCH, Outgoing, Queue
from bench import machine

RUNS, CALLS = 9, 40
SIZES = (2_048, 5_600, 20_480)


async def answer(request: web.Request) -> web.Response:
    entries = json.loads(await request.read())["Entries"]
    digest = hashlib.md5(entries[0]["MessageBody"].encode(), usedforsecurity=False).hexdigest()
    done = [{"Id": entry["Id"], "MessageId": "0", "MD5OfMessageBody": digest} for entry in entries]
    return web.json_response({"Successful": done}, content_type="application/x-amz-json-1.0")


async def serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    application = web.Application(client_max_size=2**22)
    application.router.add_post("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await stop.wait()
    await runner.cleanup()


async def cost(queue: Queue, size: int) -> float:
    """CPU milliseconds of one call."""
    batch = [Outgoing(json.dumps({"body": "x" * (size - 12)}), "account")] * MAX_BATCH
    began = time.process_time()
    for _ in range(CALLS):
        assert await queue.send(batch) == [None] * MAX_BATCH
    return (time.process_time() - began) * 1000 / CALLS


async def measure() -> None:
    print(f"CPU milliseconds of SendMessageBatch, {MAX_BATCH} messages, median and least of {RUNS} runs")
    print(f"{'':20} {'aioboto3':>15} {'direct':>15} {'ratio':>7}")
    aws = Aws("eu-central-1")
    async with aws.sqs() as client, aws.direct_sqs(client) as direct:
        sdk, own = Queue(client, "http://sqs/1/q"), Queue(client, "http://sqs/1/q", direct)
        for size in SIZES:
            await cost(sdk, size), await cost(own, size)
            pairs = [(await cost(sdk, size), await cost(own, size)) for _ in range(RUNS)]
            theirs, ours = zip(*pairs, strict=True)
            figures = "".join(f"{median(x):9.2f} {min(x):6.2f}" for x in (theirs, ours))
            print(f"{size:10} octets    {figures} {median(theirs) / median(ours):7.1f}", flush=True)


def main() -> None:
    server, _ = machine.cores()
    with machine.program(machine.cores()[1], "bench.sqs_send", "serve") as process:
        os.environ |= {  # noqa: TID251 - the SDK reads nothing else
            "AWS_ENDPOINT_URL": machine.said(process)["url"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        os.sched_setaffinity(0, server)
        uvloop.run(measure())


if __name__ == "__main__":
    uvloop.run(serve()) if sys.argv[1:] == ["serve"] else main()
