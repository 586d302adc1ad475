"""From the words of the command line to the values that the rest works with; files it names are read here."""

import argparse
from dataclasses import dataclass

from client import settings
from client.batch import Pace
from client.compose import attachment
from client.errors import UsageError
from client.explain import Server, TlsMode
from client.headers import header
from client.letters import Body, Letters, refuse_structure
from client.session import Access, Login
from client.template import MessageTemplate, Template, load_rows, load_template
from client.tls import Trust, parse_pin

IMPLICIT_PORTS = (465, 2465)
DEFAULT_COUNT = 10
DEFAULT_MESSAGE = MessageTemplate(
    (("Subject", Template("default", "Test message {{index}}")),),
    Template("default", "This is test message {{index}} of smtp-client.\n"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """A run, as asked for."""

    command: str
    access: Access
    letters: Letters
    pace: Pace


def options(given: argparse.Namespace) -> Options:
    """Return the run that the command line asks for, or say why it cannot be."""
    server = _server(given)
    login = _login(given, server.tls)
    trust = Trust(given.ca, given.insecure, tuple(map(parse_pin, given.pin)))
    if trust.pins and server.tls == "none":
        raise UsageError("--pin needs TLS: there is no key to compare with --tls none")
    letters = _letters(given)
    pace = _pace(given, letters)
    letters.check(pace.count)
    return Options(given.command, Access(server, trust, trust.context(), login), letters, pace)


def _server(given: argparse.Namespace) -> Server:
    tls: TlsMode = given.tls or ("implicit" if given.port in IMPLICIT_PORTS else "starttls")
    port = given.port or (IMPLICIT_PORTS[0] if tls == "implicit" else 587)
    return Server(given.host, port, tls, given.server_name or given.host, given.timeout)


def _login(given: argparse.Namespace, tls: TlsMode) -> Login | None:
    if given.user is None:
        if given.password is not None or given.password_file or given.password_stdin or given.auth:
            raise UsageError("--user is missing: whose password is it?")
        return None
    if tls == "none" and not given.allow_plain_auth:
        raise UsageError("--tls none would send the password in the clear; if that is meant, add --allow-plain-auth")
    password = settings.password(given=given.password, file=given.password_file, stdin=given.password_stdin)
    if password is None:
        raise UsageError(
            f"--user {given.user} needs a password: --password-file FILE, --password-stdin, or the environment "
            f"variable {settings.PASSWORD_VARIABLE}"
        )
    return Login(given.user, password, given.auth)


def _letters(given: argparse.Namespace) -> Letters:
    if given.eml and (parts := _options_beside_eml(given)):
        raise UsageError(f"--eml sends a message as it is; it does not go together with {', '.join(parts)}")
    if given.template and (given.text is not None or given.html is not None):
        raise UsageError("--template has the body; leave out --text and --html")
    rows = load_rows(given.vars) if given.vars else ()
    columns = set().union(*rows) if rows else set()
    for needed, option in (("from", given.sender), ("to", given.to)):
        if not option and needed not in columns:
            raise UsageError(f"--{needed} is missing")
    template = load_template(given.template) if given.template else DEFAULT_MESSAGE
    return Letters(
        sender=Template("--from", given.sender or "{{from}}"),
        recipients=tuple(Template("--to", to) for to in given.to or ["{{to}}"]),
        headers=_headers(given, template),
        body=_body(given, template),
        raw=_read_eml(given),
        variables=dict(map(_variable, given.var)),
        rows=rows,
        smtputf8=given.smtputf8,
    )


def _options_beside_eml(given: argparse.Namespace) -> list[str]:
    named = ("subject", "text", "html", "attach", "header", "size")
    return [f"--{name}" for name in named if getattr(given, name) not in (None, [])]


def _headers(given: argparse.Namespace, template: MessageTemplate) -> tuple[tuple[str, Template], ...]:
    own: list[tuple[str, Template]] = []
    if given.subject is not None:
        own.append(("Subject", Template("--subject", given.subject)))
    for text in given.header:
        name, colon, value = text.partition(":")
        if not colon:
            raise UsageError(f"--header {text!r}: expected 'Name: value'")
        refuse_structure(name)
        header(name, "")
        own.append((name, Template(f"--header {name}", value)))
    replaced = {name.lower() for name, _ in own}
    kept = [(name, value) for name, value in template.headers if name.lower() not in replaced]
    return (*kept, *own)


def _body(given: argparse.Namespace, template: MessageTemplate) -> Body:
    html = None if given.html is None else Template("--html", given.html)
    text = None if given.text is None else Template("--text", given.text)
    if text is None and html is None:
        text = template.body
    return Body(text, html, tuple(map(attachment, given.attach)), given.size)


def _read_eml(given: argparse.Namespace) -> bytes | None:
    if not given.eml:
        return None
    try:
        content: bytes = given.eml.read_bytes()
    except OSError as error:
        raise UsageError(f"--eml {given.eml}: cannot be read: {error}") from error
    return content


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--var {text!r}: expected NAME=VALUE")
    return name, value


def _pace(given: argparse.Namespace, letters: Letters) -> Pace:
    if given.command == "send":
        return Pace()
    return Pace(
        count=given.count or len(letters.rows) or DEFAULT_COUNT,
        rate=given.rate,
        concurrency=given.concurrency,
        per_connection=1 if given.no_reuse else given.messages_per_connection,
    )
