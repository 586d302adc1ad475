"""smtp-client: one run from the command line to the exit code."""

import json
import sys
from collections.abc import Sequence

from client import interrupt
from client.arguments import parser
from client.batch import Batch, Ledger
from client.errors import INTERRUPTED, ClientError
from client.options import options
from client.progress import Progress
from client.report import Report, story, summary


def main(words: Sequence[str]) -> int:
    """Do what the command line says and return the exit code."""
    given = parser().parse_args(words)
    try:
        asked = options(given)
    except ClientError as error:
        _tell(f"smtp-client: {error}")
        return error.exit_code
    progress = Progress(sys.stderr)
    loud = asked.command == "batch" and not given.quiet
    batch = Batch(asked.access, asked.letters, asked.pace, progress if loud else _nothing)
    say = _tell if given.verbose else _nothing
    ended = interrupt.run(batch.run(say))
    progress.end()
    report = Report(asked.command, asked.access.server, batch.ledger, interrupted=not ended)
    _print(report, as_json=given.json, quiet=given.quiet)
    return report.exit_code


def run() -> None:
    """Start smtp-client."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _print(report: Report, *, as_json: bool, quiet: bool) -> None:
    single = report.command == "send"
    if as_json:
        print(json.dumps(report.document(), indent=2))
    elif not quiet:
        print("\n".join(story(report) if single else summary(report)))
    stopped_by = report.ledger.stopped_by
    for failure in report.ledger.failures if single else filter(None, [stopped_by]):
        _tell(f"smtp-client: {failure}")
    if single and report.interrupted and not report.ledger.failures:
        _tell("smtp-client: interrupted, nothing was sent")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _nothing(_: Ledger | str) -> None:
    pass


if __name__ == "__main__":
    run()
