"""HTTP as far as a stand-in for an AWS service needs it: POSTs with a length, kept connections, one at a time."""

import asyncio
import re
from abc import abstractmethod
from typing import cast

from typing_extensions import override

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Posts(asyncio.Protocol):
    """A connection: gives each POST to `take`, which answers it now or later."""

    def __init__(self) -> None:
        self._input = bytearray()
        self._missing = 0

    @abstractmethod
    def take(self, head: bytes, body: bytes) -> None:
        """Take a request; `answer` is to be called once for it."""

    def answer(self, document: bytes) -> None:
        """Answer with a JSON document."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(document) + document)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._input += data
        while len(self._input) >= self._missing and (end := self._input.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._input, 0, end)
            whole = end + 4 + int(length[1] if length else 0)
            if len(self._input) < whole:
                self._missing = whole
                return
            head, body = bytes(self._input[:end]), bytes(self._input[end + 4 : whole])
            del self._input[:whole]
            self._missing = 0
            self.take(head, body)
