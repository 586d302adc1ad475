"""stack.json: what runs, where, and how it is. The supervisor writes it, everybody may read it."""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

PartState = Literal["waiting", "starting", "healthy", "unhealthy", "backoff", "done", "failed", "stopping", "stopped"]
Phase = Literal["starting", "running", "failed", "stopping", "stopped", "killed"]
READY: frozenset[PartState] = frozenset({"healthy", "done"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStatus:
    """How one part is.

    Attributes:
        pid: of the running process, None if there is none.
        ports: on 127.0.0.1.
        started_at: when its process was started last, seconds since the epoch.
        ready_at: when it was found healthy, or had ended well, for the first time after that.
        restarts: since the stack was started, reloads included.
        reason: why it is not healthy, or was restarted last.
    """

    state: PartState = "waiting"
    pid: int | None = None
    ports: tuple[int, ...] = ()
    started_at: float | None = None
    ready_at: float | None = None
    restarts: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a stack could not start."""

    part: str
    reason: str
    log: str
    last_lines: tuple[str, ...]

    def __str__(self) -> str:
        """Tell it to a person."""
        lines = "".join(f"\n    {line}" for line in self.last_lines)
        return f"{self.part} could not start: {self.reason}\n  last lines of {self.log}:{lines or ' (empty)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as its state folder describes it.

    Attributes:
        pid: the supervisor's.
        ports: by name, `postgres`, `valkey`, `aws`, `sink`, the doors' variables and `<door>-health`.
        environment: what every process of the product is told; tests start their own with it.
    """

    state_dir: Path
    phase: Phase
    pid: int
    started_at: float
    ports: dict[str, int]
    environment: dict[str, str]
    parts: dict[str, PartStatus] = field(default_factory=dict)
    failure: Failure | None = None

    @property
    def ca_file(self) -> Path:
        """The development CA that signed the server certificate."""
        return self.state_dir / "certs/ca.pem"

    @property
    def mail(self) -> Path:
        """The sink's Maildir; see `local.mailbox`."""
        return self.state_dir / "mail"

    @property
    def log(self) -> Path:
        """The folder of log files."""
        return self.state_dir / "log"


def write(file: Path, stack: Stack) -> None:
    """Replace the file at once, so that nobody reads half of it."""
    document = {"version": 1, **asdict(stack), "state_dir": str(stack.state_dir)}
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=2) + "\n")
    unfinished.replace(file)


def read(file: Path) -> Stack | None:
    """Read it back; None if there is none."""
    try:
        document = cast("dict[str, Any]", json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    failure = document["failure"]
    parts = {name: PartStatus(**{**part, "ports": tuple(part["ports"])}) for name, part in document["parts"].items()}
    return Stack(
        state_dir=Path(document["state_dir"]),
        phase=document["phase"],
        pid=document["pid"],
        started_at=document["started_at"],
        ports=document["ports"],
        environment=document["environment"],
        parts=parts,
        failure=Failure(**{**failure, "last_lines": tuple(failure["last_lines"])}) if failure else None,
    )


def observed(stack: Stack, *, is_up: bool) -> Stack:
    """Correct what a supervisor that was killed could not: nothing of it runs any more."""
    if is_up or stack.phase in {"failed", "stopped"}:
        return stack
    parts = {
        name: part if part.state == "done" else PartStatus(ports=part.ports, state="stopped", restarts=part.restarts)
        for name, part in stack.parts.items()
    }
    return replace(stack, phase="killed", parts=parts)


def is_running(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        # There is no /proc on this system, or the process ended between the two questions.
        return not Path("/proc/self").exists()
    return status.rpartition(")")[2].split()[0] != "Z"
