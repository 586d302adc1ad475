"""The baseline of the worker: a plain loop of SDK calls: `python -m bench.plain_worker PLAN`, a `Plan` as JSON.

Each of some tasks receives ten messages with aioboto3, sends one after the other, over its kept connection of
aiosmtplib or with aioboto3, and deletes each. It claims and records nothing, knows no rules, and tries nothing again:
a message can get lost or be sent twice. Prints the CPU that it took as one JSON object.
"""

import asyncio
import base64
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import aioboto3
import aiosmtplib
import uvloop
from aiobotocore.config import AioConfig

Send = Callable[[str, Sequence[str], bytes], Awaitable[object]]
REGION = "eu-central-1"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to work off, and where to send it.

    Attributes:
        smtp: port, ses: URL; the one that is set.
        count: messages there are.
    """

    queue: str
    count: int
    tasks: int = 16
    smtp: int = 0
    ses: str = ""


class Loop:
    def __init__(self, plan: Plan, clients: dict[str, Any]) -> None:
        self._plan = plan
        self._clients = clients
        self._left = plan.count

    async def run(self, senders: Sequence[Send]) -> float:
        """CPU seconds until all are sent and deleted."""
        began = time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for send in senders:
                tasks.create_task(self._work(send))
        return time.process_time() - began

    async def _work(self, send: Send) -> None:
        sqs, queue = self._clients["sqs"], self._plan.queue
        while self._left > 0:
            answer = await sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                job = json.loads(message["Body"])
                body = await self._body(job["body"])
                await send(job["mail_from"], [each["address"] for each in job["recipients"]], body)
                await sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                self._left -= 1

    async def _body(self, place: dict[str, Any]) -> bytes:
        if "b64" in place:
            return base64.b64decode(place["b64"])
        answer = await self._clients["s3"].get_object(Bucket=place["s3"]["bucket"], Key=place["s3"]["key"])
        body: bytes = await answer["Body"].read()
        return body


async def senders(plan: Plan, stack: AsyncExitStack, clients: dict[str, Any]) -> list[Send]:
    if plan.ses:

        async def send(_: str, to: Sequence[str], body: bytes) -> None:
            await clients["sesv2"].send_email(Destination={"ToAddresses": to}, Content={"Raw": {"Data": body}})

        return [send] * plan.tasks
    connections = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=plan.smtp, start_tls=False, use_tls=False)
        for _ in repeat(None, plan.tasks)
    ]
    return [(await stack.enter_async_context(each)).sendmail for each in connections]


async def main(plan: Plan) -> None:
    session = aioboto3.Session()
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                session.client(
                    name,
                    region_name=REGION,
                    config=AioConfig(max_pool_connections=plan.tasks),
                    endpoint_url=(plan.ses if name == "sesv2" else "") or None,
                )
            )
            for name in ("sqs", "s3", "sesv2")
        }
        cpu = await Loop(plan, clients).run(await senders(plan, stack, clients))
    print(json.dumps({"cpu": cpu}))


if __name__ == "__main__":
    uvloop.run(main(Plan(**json.loads(sys.argv[1]))))
