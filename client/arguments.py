"""The command line: what it offers, and what it says."""

import argparse
from pathlib import Path

from client.settings import PASSWORD_VARIABLE

_EPILOG = f"""\
variables (in --template, --from, --to, --subject, --text, --html, --header):
  {{{{index}}}} {{{{uuid}}}} {{{{date}}}} {{{{from}}}} {{{{to}}}}, and those of --var and --vars

password: --password-file, --password-stdin, or the environment variable {PASSWORD_VARIABLE};
  --password works too, but every user of the machine can see it in the list of processes

exit codes:
  0  every message was accepted for every recipient
  1  a message was refused, wholly or for some recipients
  2  the command line or a file it names is wrong
  3  no connection: refused, host not found, lost, timeout
  4  TLS: the certificate is not trusted, or no encryption came about
  5  SMTP AUTH failed
  6  interrupted
A batch ends with the code of its most severe error (6, 2, 4, 5, 3, 1).

examples:
  smtp-client send --host mail.example.com --user app --password-file secret \\
      --from app@example.com --to you@example.org --subject Hello --text 'It works.'
  smtp-client batch --host mail.example.com --from app@example.com --to '{{{{email}}}}' \\
      --template letter.txt --vars people.csv --rate 10
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = argparse.ArgumentParser(
        prog="smtp-client",
        description="Send test mail over SMTP and tell exactly what happened. Stores nothing of what it sends.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = root.add_subparsers(dest="command", required=True, metavar="send|batch")
    for name, purpose in (("send", "send one message"), ("batch", "send many messages at a given rate")):
        command = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose.capitalize()}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        _server(command)
        _login(command)
        _message(command)
        if name == "batch":
            _pace(command)
        _output(command)
    return root


def _server(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("server")
    group.add_argument("--host", required=True)
    group.add_argument("--port", type=_port, help="default: 465 with --tls implicit, else 587")
    group.add_argument(
        "--tls", choices=("starttls", "implicit", "none"), help="default: implicit on ports 465 and 2465, else starttls"
    )
    group.add_argument("--ca", type=Path, metavar="FILE", help="trust the authorities (or the server) in this PEM file")
    group.add_argument("--insecure", action="store_true", help="do not verify the server's certificate")
    group.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="SHA256",
        help="demand this public key (SHA-256 of the SPKI, hex or base64), with --insecure too; repeatable",
    )
    group.add_argument("--server-name", metavar="NAME", help="name to ask for (SNI) and to verify; default: the host")
    group.add_argument("--timeout", type=_positive, default=30.0, metavar="SECONDS", help="per step; default: 30")


def _login(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("login")
    group.add_argument("--user")
    password = group.add_mutually_exclusive_group()
    password.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    password.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    password.add_argument("--password", help="visible to every user of this machine: prefer the others")
    group.add_argument("--auth", choices=("plain", "login"), help="default: the best one offered")
    group.add_argument(
        "--allow-plain-auth", action="store_true", help="with --tls none: send the password in the clear"
    )


def _message(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("message")
    group.add_argument("--from", dest="sender", metavar="ADDRESS", help="'<>' is the empty sender of bounces")
    group.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="repeatable")
    group.add_argument("--subject")
    group.add_argument("--text", help="the text; with --html, both are sent as alternatives")
    group.add_argument("--html")
    group.add_argument("--attach", action="append", default=[], type=Path, metavar="FILE", help="repeatable")
    group.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="repeatable")
    group.add_argument("--size", type=_count, metavar="BYTES", help="pad the text to this size")
    group.add_argument("--smtputf8", action="store_true", help="ask for SMTPUTF8 even if no address needs it")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--eml", type=Path, metavar="FILE", help="send these bytes; only line ends become CRLF")
    source.add_argument(
        "--template", type=Path, metavar="FILE", help="headers, an empty line, a body, with {{variables}}"
    )
    group.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="a variable; repeatable")
    group.add_argument(
        "--vars",
        type=Path,
        metavar="FILE",
        help="CSV with a heading or JSON lines: one row of variables per message; columns 'from' and 'to' stand in "
        "for --from and --to",
    )


def _pace(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("pace")
    group.add_argument("--count", type=_count, help="messages to send; default: one per row of --vars, else 10")
    group.add_argument("--rate", type=_positive, metavar="N", help="messages per second; default: as fast as it goes")
    group.add_argument("--concurrency", type=_count, default=4, metavar="N", help="connections at a time; default: 4")
    reuse = group.add_mutually_exclusive_group()
    reuse.add_argument(
        "--messages-per-connection", type=_count, default=100, metavar="N", help="then connect anew; default: 100"
    )
    reuse.add_argument("--no-reuse", action="store_true", help="a connection for each message")


def _output(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print one JSON document at the end, and nothing else")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="only errors")
    loudness.add_argument("-v", "--verbose", action="store_true", help="show the SMTP dialogue, secrets masked")


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return port


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return count


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
