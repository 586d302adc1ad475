"""How a batch goes, while it goes: one living line on a terminal, lines elsewhere."""

from typing import TextIO

from client.batch import Ledger


def interval(asked: int) -> int:
    """Return how many messages lie between two lines: ten, and more when there would be over a hundred lines."""
    return max(10, asked // 1000 * 10)


class Progress:
    """Tells the state of a ledger to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._living = stream.isatty()
        self._width = 0

    def __call__(self, ledger: Ledger) -> None:
        """Tell it, if it is time to."""
        done = len(ledger.results)
        if self._living:
            text = line(ledger)
            self._stream.write(f"\r{text:{self._width}}")
            self._width = len(text)
        elif done % interval(ledger.asked) == 0 or done == ledger.asked:
            self._stream.write(f"{line(ledger)}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the living line behind."""
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0


def line(ledger: Ledger) -> str:
    """Say where a run is."""
    done = len(ledger.results)
    rate = done / ledger.seconds if ledger.seconds else 0.0
    return f"{done}/{ledger.asked}: {ledger.accepted} accepted, {done - ledger.accepted} failed, {rate:.1f}/s"
