"""Profiles: kept for their user alone, and never with a key in them."""

import tomllib
from pathlib import Path

import pytest

from tests.client.api.terminal import Terminal

pytestmark = pytest.mark.anyio
URL = ("--url", "https://api.example.com")


async def test_profiles_are_made_used_and_removed(terminal: Terminal) -> None:
    key = terminal.key_file("sp_a_secret")
    first = await terminal("profile", "add", "main", *URL, "--key-file", str(key), "--account", "shop")
    assert first.told == (0, "", "")
    local = ("--url", "http://127.0.0.1:8080", "--key-command", "printf '%s' sp_b_secret")
    assert (await terminal("profile", "add", "local", *local, "--ca", "/ca.pem")).told == (0, "", "")
    assert tomllib.loads(terminal.config.read_text()) == {
        "use": "main",
        "profiles": {
            "main": {"url": "https://api.example.com", "key_file": str(key), "account": "shop"},
            "local": {
                "url": "http://127.0.0.1:8080",
                "key_command": ["printf", "%s", "sp_b_secret"],
                "ca": "/ca.pem",
            },
        },
    }
    assert terminal.config.stat().st_mode & 0o777 == 0o600
    assert (await terminal("profile", "use", "local")).told == (0, "", "")
    assert (await terminal("profile", "list")).lines == [
        "  NAME  URL  KEY  ACCOUNT",
        "*  local  http://HERE  printf %s sp_b_secret  -",
        f"  main  https://api.example.com  {key}  shop",
    ]
    assert (await terminal("profile", "remove", "local")).told == (0, "", "")
    there = "there are: main"
    assert (await terminal("rules", "list")).err == f"smtp-proxy: no profile is in use; {there}\n"
    for words in (["profile", "use", "x"], ["profile", "remove", "x"], ["rules", "list", "--profile", "x"]):
        assert (await terminal(*words)).told == (2, "", f"smtp-proxy: there is no profile 'x'; {there}\n")


async def test_without_a_file_there_are_none(terminal: Terminal) -> None:
    assert (await terminal("profile", "list")).lines == ["  NAME  URL  KEY  ACCOUNT"]
    assert (await terminal("rules", "list")).told == (
        2,
        "",
        "smtp-proxy: no profile is in use; make one: smtp-proxy profile add\n",
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
async def test_a_key_that_others_reach_is_not_used(terminal: Terminal, mode: int) -> None:
    key = terminal.key_file("sp_a_secret")
    key.chmod(mode)
    words = f"smtp-proxy: {key}: its mode is {mode:04o}, so that others reach it: chmod 600 {key}\n"
    assert (await terminal("profile", "add", "main", *URL, "--key-file", str(key))).told == (2, "", words)
    assert not terminal.config.exists()
    terminal.profile("main", URL[1], "x", key_file=str(key))
    assert (await terminal("rules", "list")).told == (2, "", words)


async def test_a_file_of_profiles_that_others_write_is_not_read(terminal: Terminal) -> None:
    terminal.profile("main", URL[1], "key")
    terminal.config.chmod(0o620)
    words = f"its mode is 0620, so that others may write it: chmod 600 {terminal.config}"
    assert (await terminal("rules", "list")).told == (2, "", f"smtp-proxy: {terminal.config}: {words}\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("use = 1", "takes `use` and [profiles.NAME] only"),
        ("colour = 'red'", "takes `use` and [profiles.NAME] only"),
        ("[profiles]\np = 1", "[profiles.p]: is no table"),
        ("[profiles.p]\nkey = 'x'", "[profiles.p]: there is no key 'key'; there are: url, key_file, key_command"),
        ("[profiles.p]\nurl = 1", "[profiles.p]: url is no str"),
        ("[profiles.p]\nkey_command = [1]", "[profiles.p]: key_command is no list"),
        ("[profiles.p]\nurl = 'https://a'", "[profiles.p]: needs url, and either key_file or key_command"),
        ("[", "is no TOML: "),
    ],
)
async def test_what_is_wrong_with_the_file_is_told(terminal: Terminal, text: str, told: str) -> None:
    terminal.config.write_text(text)
    terminal.config.chmod(0o600)
    ran = await terminal("profile", "list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"smtp-proxy: {terminal.config}: {told}")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("false", "key_command false: it ended with 1"),
        ("no-such-program", "key_command no-such-program: FileNotFoundError"),
        ("true", "what true prints: is empty"),
        ("echo two words", "what echo prints: is no key: one word of printable ASCII"),
    ],
)
async def test_a_command_that_gives_no_key(terminal: Terminal, command: str, told: str) -> None:
    ran = await terminal("profile", "add", "main", *URL, "--key-command", command)
    assert ran.told == (2, "", f"smtp-proxy: {told}\n")


async def test_no_profile_is_kept_with_two_keys_or_none(terminal: Terminal, tmp_path: Path) -> None:
    key = str(terminal.key_file("key"))
    assert (await terminal("profile", "add", "main", *URL)).code == 2
    assert (await terminal("profile", "add", "main", *URL, "--key-file", key, "--key-command", "x")).code == 2
    assert (await terminal("profile", "add", "main", *URL, "--key-file", str(tmp_path / "nothing"))).code == 2
    assert not terminal.config.exists()
