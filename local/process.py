"""One child process: start it with its log, see it end, stop it within a deadline."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM, Signals

from local import settings

MAX_LOG_BYTES = 5_000_000
CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True, slots=True)
class Stop:
    """How a process is asked to end, and how long it may take before it is killed."""

    signal: Signals = SIGTERM
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and its log."""

    process: asyncio.subprocess.Process
    log: Path
    log_start: int

    @property
    def pid(self) -> int:
        """The process id; also the id of its group and session."""
        return self.process.pid

    async def ended(self) -> int:
        """Wait for the end; negative is the signal that ended it."""
        return await self.process.wait()

    async def stop(self, how: Stop) -> None:
        """Ask, wait, then kill the whole group."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how.signal)
        try:
            async with asyncio.timeout(how.seconds):
                await self.process.wait()
        except TimeoutError:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            await self.process.wait()

    def last_lines(self, count: int = 15) -> tuple[str, ...]:
        """Return what this run of the process said last."""
        with self.log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self.log_start, end - 64_000))
            return tuple(file.read().decode(errors="replace").splitlines()[-count:])


def rotate(log: Path, limit: int = MAX_LOG_BYTES) -> None:
    """Keep one older log when this one has grown."""
    if log.exists() and log.stat().st_size > limit:
        log.replace(log.with_suffix(".log.1"))


async def start(command: tuple[str, ...], environment: Mapping[str, str], log: Path, death_signal: int) -> Child:
    """Start a command in a session of its own; it gets the signal when this process dies."""
    rotate(log)
    with log.open("ab") as output:
        position = output.tell()
        process = await asyncio.create_subprocess_exec(
            *(settings.python(), "-I", "-S", str(CHILD), str(os.getpid()), str(int(death_signal))),
            *command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=settings.ROOT,
            env=environment,
            start_new_session=True,
        )
    return Child(process, log, position)
