"""When to stop: once asked, finish; asked again, stop at once."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """What SIGTERM and SIGINT have asked for so far."""

    def __init__(self) -> None:
        self.soon = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Ask once more."""
        (self.now if self.soon.is_set() else self.soon).set()

    @contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Listen to the signals while the block runs."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for each in signals:
            loop.add_signal_handler(each, self.ask)
        try:
            yield self
        finally:
            for each in signals:
                loop.remove_signal_handler(each)
