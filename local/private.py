"""Files with secrets of the local stack."""

import os
import secrets
from pathlib import Path

from local import names


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(text)


def write_credentials(file: Path) -> None:
    """Make throw-away credentials once; the emulator takes any, and nothing else shall."""
    if not file.exists():
        write_private(
            file,
            f"[default]\naws_access_key_id = {names.ACCOUNT}\naws_secret_access_key = {secrets.token_urlsafe(24)}\n",
        )
