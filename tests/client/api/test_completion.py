"""Shells complete commands: bash, which is everywhere, is asked; the others' scripts are made of the same table."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.client.api.terminal import Terminal

pytestmark = pytest.mark.anyio


async def completed(terminal: Terminal, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    script = (await terminal("completion", "bash")).out
    typed = " ".join(f"'{word}'" for word in ("smtp-proxy", *words))
    asked = (
        f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _smtp_proxy; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return (await ran(terminal.home, "bash", "-c", asked)).split()


async def ran(folder: Path, *words: str) -> str:
    process = await asyncio.create_subprocess_exec(*words, cwd=folder, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def test_bash_completes(terminal: Terminal) -> None:
    (terminal.home / "mail.eml").touch()
    assert await completed(terminal, "a") == ["accounts", "audit"]
    assert await completed(terminal, "dead-letters", "") == [
        *("list", "redrive", "drop"),
        *("-h", "--help"),
    ]
    assert await completed(terminal, "--profile", "accounts", "--json", "rules", "s") == ["show", "simulate"]
    assert await completed(terminal, "messages", "search", "--st") == ["--state"]
    assert await completed(terminal, "messages", "search", "--state", "de") == ["deferred", "delivered"]
    assert await completed(terminal, "rules", "list", "--ca", "m") == ["mail.eml"]
    assert await completed(terminal, "rules", "list", "--account", "") == []
    assert await completed(terminal, "completion", "") == ["-h", "--help", "bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_have_all_commands(terminal: Terminal, shell: str) -> None:
    printed = await terminal("completion", shell)
    lines = printed.out.splitlines()
    expected = {
        "zsh": [
            "#compdef smtp-proxy",
            '    "/suppressions/add --reason") compadd -- manual bounce complaint unsubscribe; return ;;',
            '    "/dead-letters") compadd -- list redrive drop -h --help ;;',
        ],
        "fish": [
            "complete -c smtp-proxy -n '__smtp_proxy_at \"\"' -a accounts",
            "complete -c smtp-proxy -n '__smtp_proxy_at /messages/search' -l ca -r -F",
            "complete -c smtp-proxy -n '__smtp_proxy_at /completion' -a zsh",
        ],
    }[shell]
    assert (printed.code, printed.err) == (0, "")
    assert [line for line in expected if line not in lines] == []
    if found := shutil.which(shell):
        (terminal.home / "script").write_text(printed.out)
        await ran(terminal.home, found, "-n", "script")
