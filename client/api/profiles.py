"""Profiles: where an API is, and where the key for it is kept; never the key itself."""

import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from client.api import secrets
from client.api.errors import UsageError

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """An API, and how it is called.

    Attributes:
        url: its origin, as in `https://api.example.com`.
        key_file: file of mode 0600 that has the key.
        key_command: program that prints the key, with its arguments.
        ca: file of authorities to trust instead of the system's.
        account: the one that is meant where none is named.
        plain_http: whether the key may go over HTTP without TLS to another machine.
    """

    url: str
    key_file: str = ""
    key_command: tuple[str, ...] = ()
    ca: str = ""
    account: str = ""
    plain_http: bool = False

    def key(self) -> str:
        """Read the key.

        Raises:
            UsageError: it cannot be read, or others could.
        """
        if self.key_command:
            return secrets.as_key(secrets.from_command(self.key_command), f"what {self.key_command[0]} prints")
        return secrets.as_key(secrets.from_file(self.key_file), self.key_file)


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles of a user, and which one is used where none is named."""

    by_name: Mapping[str, Profile] = field(default_factory=dict)
    used: str = ""

    def named(self, name: str | None) -> Profile:
        """Give a profile; None is the one in use.

        Raises:
            UsageError: there is none of this name.
        """
        found = self.by_name.get(name or self.used)
        if found is not None:
            return found
        there = f"there are: {', '.join(sorted(self.by_name))}" if self.by_name else "make one: smtp-proxy profile add"
        raise UsageError(f"there is no profile {name!r}; {there}" if name else f"no profile is in use; {there}")

    def added(self, name: str, profile: Profile) -> "Profiles":
        """Have another one; the first is used at once."""
        return Profiles({**self.by_name, name: profile}, self.used or name)

    def using(self, name: str) -> "Profiles":
        """Use another one where none is named."""
        self.named(name)
        return replace(self, used=name)

    def without(self, name: str) -> "Profiles":
        """Have one no more."""
        self.named(name)
        kept = {each: profile for each, profile in self.by_name.items() if each != name}
        return Profiles(kept, "" if self.used == name else self.used)


def load(file: Path) -> Profiles:
    """Read the profiles; there are none where there is no file.

    Raises:
        UsageError: others may write it, which may name programs to run, or it is not as it should be.
    """
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if mode & _WRITABLE:
                raise UsageError(f"{file}: its mode is {mode:04o}, so that others may write it: chmod 600 {file}")
            told = tomllib.load(opened)
    except FileNotFoundError:
        return Profiles()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: is no TOML: {error}") from error
    tables, used = told.pop("profiles", {}), told.pop("use", "")
    if told or not isinstance(tables, dict) or not isinstance(used, str):
        raise UsageError(f"{file}: takes `use` and [profiles.NAME] only")
    return Profiles({name: _profile(file, name, table) for name, table in tables.items()}, used)


def save(file: Path, profiles: Profiles) -> None:
    """Write the profiles, for their user only; whoever reads meanwhile sees the old ones or the new ones."""
    lines = [f"use = {_toml(profiles.used)}"] if profiles.used else []
    for name, profile in profiles.by_name.items():
        lines += ["", f"[profiles.{_toml(name)}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in asdict(profile).items() if value]
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.touch(mode=0o600, exist_ok=False)
        new.write_text("\n".join(lines).lstrip("\n") + "\n", "utf-8")
        new.replace(file)
    except OSError as error:
        raise UsageError(f"{file}: cannot be written: {error.strerror}") from error


def _profile(file: Path, name: str, table: Any) -> Profile:
    where = f"{file}: [profiles.{name}]"
    kinds: dict[str, type] = {each.name: str for each in fields(Profile)} | {"key_command": list, "plain_http": bool}
    if not isinstance(table, dict):
        raise UsageError(f"{where}: is no table")
    for key, value in table.items():
        if key not in kinds:
            raise UsageError(f"{where}: there is no key {key!r}; there are: {', '.join(kinds)}")
        words = value if isinstance(value, list) else []
        if not isinstance(value, kinds[key]) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"{where}: {key} is no {kinds[key].__name__}")
    if "url" not in table or bool(table.get("key_file")) == bool(table.get("key_command")):
        raise UsageError(f"{where}: needs url, and either key_file or key_command")
    chosen: dict[str, Any] = {**table, "key_command": tuple(table.get("key_command", ()))}
    return Profile(**chosen)


def _toml(value: object) -> str:
    """Write a text, a list of them, or a yes or no; JSON's escapes are all TOML's, too."""
    return json.dumps(value).replace("\x7f", "\\u007f")
