"""Notice changed sources by looking at their times."""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from local.keeper import Keeper
from local.settings import ROOT

POLL_SECONDS = 0.3

Times = dict[Path, int]


def times(folders: Iterable[Path]) -> Times:
    """Return when each Python file was changed last."""
    found: Times = {}
    for file in (file for folder in folders for file in folder.rglob("*.py")):
        try:
            found[file] = file.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def changed(before: Times, after: Times) -> set[Path]:
    """Return files that are new, gone, or written again."""
    return {file for file in before.keys() | after.keys() if before.get(file) != after.get(file)}


async def watch(keepers: Iterable[Keeper], root: Path = ROOT) -> None:
    """Restart a part once the sources it watches have changed and then kept still."""
    watched = [(keeper, [root / name for name in keeper.part.watches]) for keeper in keepers if keeper.part.watches]
    before = times(_all(watched))
    while True:
        await asyncio.sleep(POLL_SECONDS)
        after = times(_all(watched))
        if not (touched := changed(before, after)):
            continue
        # An editor or a checkout writes several files: wait until a look finds nothing new.
        while newer := await _newer(after, watched):
            touched, after = touched | changed(after, newer), newer
        before = after
        for keeper, folders in watched:
            if any(file.is_relative_to(folder) for file in touched for folder in folders):
                keeper.restart.set()


async def _newer(known: Times, watched: list[tuple[Keeper, list[Path]]]) -> Times | None:
    await asyncio.sleep(POLL_SECONDS)
    now = times(_all(watched))
    return now if changed(known, now) else None


def _all(watched: list[tuple[Keeper, list[Path]]]) -> Iterator[Path]:
    return iter({folder for _, folders in watched for folder in folders})
