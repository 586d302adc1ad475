"""Show what the parts say."""

import time
from collections import deque
from pathlib import Path

POLL_SECONDS = 0.3


def files(folder: Path, part: str | None) -> list[Path]:
    """Return one part's log, or all of them."""
    return [folder / f"{part}.log"] if part else sorted(folder.glob("*.log"))


def tail(file: Path, count: int) -> list[str]:
    """Return the last lines."""
    with file.open(errors="replace") as lines:
        return [line.rstrip("\n") for line in deque(lines, maxlen=count)]


def show(folder: Path, part: str | None, count: int, *, follow: bool) -> int:
    """Print the last lines of each log; then, if asked to follow, whatever is new, until Ctrl-C."""
    chosen = files(folder, part)
    if missing := [file for file in chosen if not file.exists()]:
        known = ", ".join(file.stem for file in files(folder, None)) or "none yet"
        print(f"error: no log {missing[0]}; there are: {known}")
        return 1
    prefixed = len(chosen) > 1
    positions = {file: file.stat().st_size for file in chosen}
    for file in chosen:
        for line in tail(file, count):
            _print(file, line, prefixed=prefixed)
    try:
        while follow:
            time.sleep(POLL_SECONDS)
            positions = {file: _news(file, at, prefixed=prefixed) for file, at in positions.items()}
    except KeyboardInterrupt:
        pass
    return 0


def _news(file: Path, position: int, *, prefixed: bool) -> int:
    """Print what was added since; only whole lines. A log that shrank was begun anew."""
    if file.stat().st_size < position:
        position = 0
    with file.open("rb") as log:
        log.seek(position)
        added = log.read()
    whole = added[: added.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        _print(file, line, prefixed=prefixed)
    return position + len(whole)


def _print(file: Path, line: str, *, prefixed: bool) -> None:
    print(f"{file.stem:<12} | {line}" if prefixed else line, flush=True)
