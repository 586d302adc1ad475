"""Certificates, and what goes with them, in a folder: whole files renamed into place, keys for their owner only."""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from backing.certificates.bundle import IMPORTED, Bundle, Kept
from backing.certificates.material import Material
from mail.errors import Unavailable

KEY_MODE: Final = 0o600
CERTIFICATE_MODE: Final = 0o644


def replace(file: Path, content: bytes, mode: int) -> None:
    """Put a whole file in the stead of another, which readers see until then (TLS-012)."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, KEY_MODE), "wb") as output:
            output.write(content)
            # The umask may have taken the read permission that everybody else is to have.
            os.fchmod(output.fileno(), mode)
            os.fsync(output.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


class TextFile:
    """A text in a file.

    Args:
        file: where.
        mode: whom it is for; by default, for its owner only.
    """

    def __init__(self, file: Path, mode: int = KEY_MODE) -> None:
        self._file = file
        self._mode = mode

    async def read(self) -> str | None:
        """Read it; None where there is none.

        Raises:
            Unavailable: it cannot be read.
        """
        try:
            return await asyncio.to_thread(self._file.read_text, "utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as fault:
            raise Unavailable(f"{self._file} cannot be read: {fault}") from fault

    async def write(self, text: str) -> None:
        """Replace it.

        Raises:
            Unavailable: it cannot be written.
        """
        await _replace_all([(self._file, text.encode(), self._mode)])


class PairOfFiles:
    """A certificate and its key as `NAME.pem` and `NAME.key`, as the relay reads them.

    Args:
        folder: where both are.
        name: of both.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._chain, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        self._about = TextFile(folder / f"{name}.source")

    async def read(self) -> Kept | None:
        """Read them; None where one is missing.

        Raises:
            Unavailable: they cannot be read.
        """
        source = await self._about.read()
        try:
            chain, key = await asyncio.to_thread(lambda: (self._chain.read_bytes(), self._key.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise Unavailable(f"{self._chain} or its key cannot be read: {fault}") from fault
        return Kept(Bundle(Material(chain, key), (), source or IMPORTED))

    async def write(self, bundle: Bundle) -> None:
        """Replace them, the key first; who reads one of each in between waits for the rest.

        Raises:
            Unavailable: they cannot be written.
        """
        key = (self._key, bundle.material.key, KEY_MODE)
        await _replace_all([key, (self._chain, bundle.material.chain, CERTIFICATE_MODE)])
        await self._about.write(bundle.source)


async def _replace_all(files: Iterable[tuple[Path, bytes, int]]) -> None:
    def work() -> None:
        for file, content, mode in files:
            try:
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                replace(file, content, mode)
            except OSError as fault:
                raise Unavailable(f"{file} cannot be written: {fault.strerror}") from fault

    await asyncio.to_thread(work)
