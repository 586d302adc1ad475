"""A stand-in for SQS that keeps its messages in memory: `python -m bench.memory_queue`.

The emulator of the local stack gives a third of the messages that the worker can take. This one does what the worker,
the relay and the SDK ask of a standard queue, and no more: no dead letters, no fair queues, no checks. Prints its URL
as one JSON object.
"""

import asyncio
import hashlib
import json
import re
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any

import orjson
import uvloop
from typing_extensions import override

from bench.machine import raise_file_limit
from bench.posts import Posts

_OPERATION = re.compile(rb"\r\nx-amz-target: *AmazonSQS\.(\w+)", re.IGNORECASE)
Document = dict[str, Any]
Answer = Callable[[Document], None]


@dataclass(slots=True)
class Message:
    name: str
    text: str
    md5: str
    sent: int
    receives: int = 0
    hidden_until: float = 0.0

    def shown(self) -> Document:
        attributes = {"ApproximateReceiveCount": str(self.receives), "SentTimestamp": str(self.sent)}
        handle = f"{self.name}.{self.receives}"
        body = {"Body": self.text, "MD5OfBody": self.md5, "Attributes": attributes}
        return {"MessageId": self.name, "ReceiptHandle": handle, **body}


class MemoryQueue:
    """One queue; its operations are called as SQS calls them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count()
        self._waiting: deque[Message] = deque()
        self._flying: dict[str, Message] = {}
        self._returns: list[tuple[float, str]] = []
        self._polls: deque[tuple[Document, Answer, asyncio.TimerHandle]] = deque()

    def create_queue(self, _: Document) -> Document:
        return {"QueueUrl": self._url}

    get_queue_url = create_queue

    def get_queue_attributes(self, _: Document) -> Document:
        self._bring_back()
        told = {
            "QueueArn": "arn:aws:sqs:eu-central-1:000000000000:" + self._url.rpartition("/")[2],
            "ApproximateNumberOfMessages": str(len(self._waiting)),
            "ApproximateNumberOfMessagesNotVisible": str(len(self._flying)),
        }
        return {"Attributes": told}

    def send_message_batch(self, asked: Document) -> Document:
        sent = [{"Id": entry["Id"], **self.send_message(entry)} for entry in asked["Entries"]]
        return {"Successful": sent, "Failed": []}

    def send_message(self, asked: Document) -> Document:
        text = asked["MessageBody"]
        md5 = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        message = Message(f"m{next(self._numbers)}", text, md5, time.time_ns() // 1_000_000)
        self._waiting.append(message)
        self._serve_polls()
        return {"MessageId": message.name, "MD5OfMessageBody": md5}

    def delete_message_batch(self, asked: Document) -> Document:
        for entry in asked["Entries"]:
            self.delete_message(entry)
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}

    def delete_message(self, asked: Document) -> Document:
        self._flying.pop(asked["ReceiptHandle"].partition(".")[0], None)
        return {}

    def change_message_visibility_batch(self, asked: Document) -> Document:
        for entry in asked["Entries"]:
            if message := self._flying.get(entry["ReceiptHandle"].partition(".")[0]):
                self._hide(message, entry["VisibilityTimeout"])
        self._serve_polls()
        return {"Successful": [{"Id": entry["Id"]} for entry in asked["Entries"]], "Failed": []}

    def poll(self, asked: Document, answer: Answer) -> None:
        """ReceiveMessage: answered at once, when a message comes, or when the wait is over."""
        timer = asyncio.get_running_loop().call_later(asked.get("WaitTimeSeconds", 0), self._give_up, answer)
        self._polls.append((asked, answer, timer))
        self._serve_polls()

    def _give_up(self, answer: Answer) -> None:
        self._serve_polls()
        kept = deque(poll for poll in self._polls if poll[1] is not answer)
        if len(kept) < len(self._polls):
            self._polls = kept
            answer({})

    def _serve_polls(self) -> None:
        self._bring_back()
        while self._waiting and self._polls:
            asked, answer, timer = self._polls.popleft()
            timer.cancel()
            several = [self._waiting.popleft() for _ in range(min(asked["MaxNumberOfMessages"], len(self._waiting)))]
            for message in several:
                message.receives += 1
                self._flying[message.name] = message
                self._hide(message, asked.get("VisibilityTimeout", 30))
            answer({"Messages": [message.shown() for message in several]})

    def _hide(self, message: Message, seconds: float) -> None:
        message.hidden_until = time.monotonic() + seconds
        heappush(self._returns, (message.hidden_until, message.name))

    def _bring_back(self) -> None:
        """Show again what was not deleted in time; what was hidden anew has another entry."""
        now = time.monotonic()
        while self._returns and self._returns[0][0] <= now:
            until, name = heappop(self._returns)
            message = self._flying.get(name)
            if message and message.hidden_until == until:
                self._waiting.append(self._flying.pop(name))


class Sqs(Posts):
    """A connection to the service."""

    def __init__(self, queues: dict[str, MemoryQueue]) -> None:
        super().__init__()
        self._queues = queues

    @override
    def take(self, head: bytes, body: bytes) -> None:
        asked: Document = orjson.loads(body)
        found = _OPERATION.search(head)
        operation = found[1].decode() if found else ""
        queue = self._queues[asked.get("QueueName") or asked["QueueUrl"].rpartition("/")[2]]
        if operation == "ReceiveMessage":
            queue.poll(asked, self._say)
        else:
            self._say(getattr(queue, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(asked))

    def _say(self, document: Document) -> None:
        self.answer(orjson.dumps(document))


class Queues(dict[str, MemoryQueue]):
    """The queues there are: any that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.url = ""

    def __missing__(self, name: str) -> MemoryQueue:
        queue = self[name] = MemoryQueue(f"{self.url}/000000000000/{name}")
        return queue


async def serve() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    queues = Queues()
    server = await loop.create_server(lambda: Sqs(queues), "127.0.0.1", 0)
    queues.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"url": queues.url}), flush=True)
    await stop.wait()


if __name__ == "__main__":
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
