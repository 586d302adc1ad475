"""The commands about profiles."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from client.api.output import cell, grid, heading
from client.api.profiles import Profile, Profiles, load, save
from client.api.transport import check

_COLUMNS = ("", "name", "url", "key", "account")


def keep(file: Path, given: Mapping[str, Any]) -> None:
    """Show or change the profiles of a file.

    Raises:
        UsageError: there is no such profile, or the file cannot be read or written.
    """
    profiles = load(file)
    match given["verb"]:
        case "list":
            print("\n".join(_listed(profiles)))
            return
        case "add":
            profiles = profiles.added(given["name"], _profile(given))
        case "use":
            profiles = profiles.using(given["name"])
        case _:
            profiles = profiles.without(given["name"])
    save(file, profiles)


def _profile(given: Mapping[str, Any]) -> Profile:
    check(given["url"], plain_http=given["plain_http"])
    profile = Profile(
        url=given["url"],
        key_file=_whole(given["key_file"]),
        key_command=tuple(given["key_command"]),
        ca=_whole(given["authority"]),
        account=given["account"],
        plain_http=given["plain_http"],
    )
    # A key that cannot be read is told now, and not when it is needed.
    profile.key()
    return profile


def _whole(name: str) -> str:
    """The same file from wherever the command is started."""
    return str(Path(name).expanduser().absolute()) if name else ""


def _listed(profiles: Profiles) -> list[str]:
    rows = [[heading(each) for each in _COLUMNS]]
    for name, each in sorted(profiles.by_name.items()):
        key = each.key_file or " ".join(each.key_command)
        rows.append(["*" if name == profiles.used else "", *map(cell, (name, each.url, key, each.account))])
    return grid(rows)
