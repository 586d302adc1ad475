"""Somebody's terminal: where `smtp-proxy` is started, with a home of its own."""

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_HIDDEN = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HERE"),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it printed, with what differs from run to run hidden, and one blank for many."""
        return [re.sub(r" {2,}", "  ", line) for line in hidden(self.out).splitlines()]

    @property
    def told(self) -> tuple[int, str, str]:
        """All of it, with what differs from run to run hidden."""
        return self.code, hidden(self.out), hidden(self.err)


def hidden(text: str) -> str:
    for pattern, name in _HIDDEN:
        text = pattern.sub(name, text)
    return text


@dataclass(frozen=True, slots=True)
class Terminal:
    home: Path

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    def key_file(self, key: str, name: str = "key") -> Path:
        file = self.home / name
        file.write_text(f"{key}\n")
        file.chmod(0o600)
        return file

    def profile(self, name: str, url: str, key: str, **more: str) -> None:
        """Write the file of profiles with this one in use."""
        values = {"url": url, "key_file": str(self.key_file(key, f"key-{name}")), **more}
        lines = [f'use = "{name}"', f"[profiles.{name}]", *(f'{key} = "{value}"' for key, value in values.items())]
        self.config.write_text("\n".join(lines))
        self.config.chmod(0o600)

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, "-m", "client.api")

    @property
    def environment(self) -> dict[str, str]:
        passed = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "COV"))}  # noqa: TID251
        return {**passed, "HOME": str(self.home), "SMTP_PROXY_CONFIG": str(self.config)}

    async def __call__(self, *words: str, stdin: str = "") -> Ran:
        process = await asyncio.create_subprocess_exec(
            *(*self.command, *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())
