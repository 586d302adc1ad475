"""smtp-proxy: one run from the command line to the exit code."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from client.api.arguments import parser
from client.api.completion import script
from client.api.errors import ApiError
from client.api.keeping import keep
from client.api.output import printable
from client.api.profiles import load
from client.api.running import run_command
from client.api.transport import Line
from client.settings import profiles_file

_INTERRUPTED = 130


def main(words: Sequence[str]) -> int:
    """Do what the command line says and return the exit code."""
    tree = parser()
    try:
        given = vars(tree.parse_args(words))
        match given["noun"]:
            case "completion":
                sys.stdout.write(script(given["shell"], tree))
            case "profile":
                keep(profiles_file(), given)
            case _:
                _call(given)
    except ApiError as error:
        print(f"smtp-proxy: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


def run() -> None:
    """Start smtp-proxy."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read has seen enough; Python must not try to write the rest when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _call(given: dict[str, Any]) -> None:
    profile = load(profiles_file()).named(given.get("profile"))
    line = Line(
        url=profile.url,
        key=profile.key(),
        ca=given.get("ca", profile.ca),
        seconds=given.get("timeout", 30.0),
        plain_http=profile.plain_http,
    )
    run_command(given["command"], given, line, profile.account)


if __name__ == "__main__":
    run()
