"""`python -m web.console`: the console as a process. The only place where its parts are put together."""

import sys

from web.console.application import console
from web.process import run

if __name__ == "__main__":
    sys.exit(run("console", console))
