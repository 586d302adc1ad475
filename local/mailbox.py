"""The sink's mail on disk: a Maildir with the exact bytes, and beside it a folder with the envelopes."""

import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDERS = ("tmp", "new", "cur", "envelopes")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the client said before DATA, in its own spelling; options are ESMTP parameters."""

    mail_from: str
    rcpt_tos: tuple[str, ...]
    received_at: str
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[str, ...] = ()

    @classmethod
    def now(
        cls, mail_from: str, rcpt_tos: tuple[str, ...], mail_options: Sequence[str], rcpt_options: Sequence[str]
    ) -> "Envelope":
        """Make an envelope of mail that has just come in."""
        received_at = datetime.now(UTC).isoformat()
        return cls(mail_from, rcpt_tos, received_at, tuple(mail_options), tuple(rcpt_options))


@dataclass(frozen=True, slots=True)
class Mail:
    """One received message."""

    name: str
    file: Path
    envelope: Envelope

    @property
    def content(self) -> bytes:
        """The bytes between DATA and the final dot, unstuffed."""
        return self.file.read_bytes()


def create(folder: Path) -> None:
    """Make the folders."""
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def deliver(folder: Path, content: bytes, envelope: Envelope) -> str:
    """Keep a message; when this returns it is on the disk. The envelope comes first: who sees the mail sees both."""
    # The time first, so that names sort by arrival; the rest makes them unique (maildir(5)).
    name = f"{time.time_ns():020}.P{os.getpid()}Q{next(_numbers)}.localhost"
    sidecar = json.dumps(asdict(envelope), indent=2).encode()
    _write(folder / "tmp" / f"{name}.json", folder / "envelopes" / f"{name}.json", sidecar)
    _write(folder / "tmp" / name, folder / "new" / name, content)
    return name


def _write(unfinished: Path, target: Path, content: bytes) -> None:
    with unfinished.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def received(folder: Path) -> Iterator[Mail]:
    """Yield all mail, the oldest first."""
    files = [file for name in ("new", "cur") for file in (folder / name).glob("[0-9]*")]
    for file in sorted(files, key=lambda file: file.name):
        name = file.name.partition(":")[0]
        said: dict[str, Any] = json.loads((folder / "envelopes" / f"{name}.json").read_text())
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in said.items()
        }
        yield Mail(name, file, Envelope(**fields))
