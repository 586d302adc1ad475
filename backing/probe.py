"""`python -m backing.probe URL`: whether a process on this machine says that it is well.

The health check of a container, which has neither curl nor a shell. It starts anew every few seconds, so it imports
little.
"""

import sys
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

EX_WELL, EX_ILL, EX_USAGE = 0, 1, 2
TIMEOUT_SECONDS: Final = 3.0
_OK: Final = 200


def probe(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """Ask, and give what is wrong; empty where the answer is 200.

    Args:
        url: of a health path, http only.
        timeout_seconds: longest wait to connect, and then for each piece of the answer.

    Raises:
        ValueError: this is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL such as http://127.0.0.1:8081/livez")
    connection = HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (HTTPException, OSError) as fault:
        return f"{url}: {type(fault).__name__}: {fault}"
    finally:
        connection.close()
    return "" if status == _OK else f"{url}: status {status}"


def main(arguments: list[str]) -> int:
    """Ask the URL that the command line names; 0 well, 1 not, 2 usage."""
    try:
        (url,) = arguments
        wrong = probe(url)
    except ValueError as fault:
        sys.stderr.write(f"usage: python -m backing.probe URL\n{fault}\n")
        return EX_USAGE
    sys.stderr.write(f"{wrong}\n" if wrong else "")
    return EX_ILL if wrong else EX_WELL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
