"""`python -m web.api`: the HTTP API as a process. The only place where its parts are put together."""

import sys

from web.api.application import api
from web.process import run

if __name__ == "__main__":
    sys.exit(run("api", api))
