"""`provider`: where mail goes out, of one account or shared by all."""

import argparse
import asyncio
import json
import time
from typing import Any, Final

from backing.admin.desk import AdminError
from backing.admin.inquiries import Inquiries
from backing.admin.office import Office
from backing.admin.providers import KINDS, NewProvider, ProviderChange, Providers
from backing.commands import tables
from backing.commands.office import ACTOR
from backing.commands.reading import Verbs, document, lines, pair, pairs
from mail.errors import Unavailable
from mail.inquiries import OPEN, InquiryState

_LOOK_SECONDS: Final = 0.5
# A worker has two minutes to take a test, and one to answer.
_PATIENCE_SECONDS: Final = 200.0
_REST: Final = "A worker reads the configuration in full when mail comes to it, and logs what it cannot use."


def arguments(verb: Verbs) -> None:
    """Say what `provider` takes."""
    create = _named(verb("create", help="make a provider"))
    create.add_argument("--kind", choices=KINDS, required=True)
    create.add_argument("--secret-file", metavar="F", help="first line is its secret; - is standard input")
    _settings(create)
    change = _named(verb("set", help="change a provider; what is not named stays as it is"))
    _settings(change)
    change.add_argument("--any-domain", action="store_true", help="send for any sender's domain")
    secret = _named(verb("secret", help="give a provider another secret, or none"))
    given = secret.add_mutually_exclusive_group(required=True)
    given.add_argument("--file", metavar="F", help="first line is the secret; - is standard input")
    given.add_argument("--none", action="store_true", help="take the secret away")
    _named(verb("enable", help="let a provider be used"))
    _named(verb("disable", help="let a provider be used no more; mail that has no other waits"))
    _named(verb("delete", help="delete a provider that no account, rule or mail needs"))
    test = _named(verb("test", help="see whether mail would go through a provider, and wait for what a worker says"))
    test.add_argument("--to", metavar="ADDRESS", help="send a small mail there; needs --from")
    test.add_argument("--from", dest="sender", metavar="ADDRESS", help="its sender")
    test.add_argument("--no-wait", action="store_true", help="do not wait for the answer")
    reseal = verb("reseal", help="have secrets sealed anew by a worker, by the KMS key that is configured now")
    reseal.add_argument("name", nargs="?", help="of one provider; without it, all")
    reseal.add_argument("--account", metavar="NAME", help="whose; default: of one, shared by all accounts; else all")
    show = _named(verb("show", help="show all about a provider but its secret"))
    show.add_argument("--json", action="store_true")
    listed = verb("list", help="show all providers, or those that an account may use")
    listed.add_argument("--account", metavar="NAME")
    listed.add_argument("--json", action="store_true")


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", help="small letters, digits, dashes")
    parser.add_argument("--account", metavar="NAME", help="whose it is; default: shared by all accounts")
    return parser


def _settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config-file", metavar="F", help="its settings, a JSON object; - is standard input")
    for option, words in (
        ("--config", "a setting"),
        ("--limit", "a limit, as in rate=14, concurrency=64, daily=50000"),
    ):
        parser.add_argument(
            option,
            type=pair,
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"{words}; the value is JSON or text; null takes it away; repeatable",
        )
    parser.add_argument(
        "--domain", action="append", help="sends for this sender domain only; *.example.com for all below; repeatable"
    )


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `provider` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    providers = office.providers
    match asked.verb:
        case "list":
            rows = await providers.all(asked.account)
            return json.dumps(rows) if asked.json else tables.providers(rows)
        case "test":
            return await _test(office.inquiries, asked)
        case "reseal":
            return await _reseal(office.inquiries, asked)
        case "show":
            row = await providers.show(asked.account, asked.name)
            return json.dumps(row) if asked.json else tables.provider(row)
        case verb:
            return await _CHANGES[verb](providers, asked)


async def _create(providers: Providers, asked: argparse.Namespace) -> str:
    config = document("--config-file", asked.config_file) if asked.config_file else {}
    new = NewProvider(
        name=asked.name,
        kind=asked.kind,
        config=_without_nulls(config | pairs("--config", asked.config)),
        secret=_secret("--secret-file", asked.secret_file) if asked.secret_file else None,
        limits=_without_nulls(pairs("--limit", asked.limit)),
        allowed_domains=tuple(asked.domain) if asked.domain else None,
    )
    await providers.create(asked.account, new)
    return f"Provider {asked.name} is made. {_REST}"


async def _set(providers: Providers, asked: argparse.Namespace) -> str:
    if asked.any_domain and asked.domain:
        raise ValueError("--any-domain and --domain exclude each other")
    change = ProviderChange(
        whole_config=document("--config-file", asked.config_file) if asked.config_file else None,
        config=pairs("--config", asked.config),
        limits=pairs("--limit", asked.limit),
        allowed_domains=tuple(asked.domain) if asked.domain else None,
        any_domain=asked.any_domain,
    )
    await providers.change(asked.account, asked.name, change)
    return f"Provider {asked.name} is changed. {_REST}"


async def _test(inquiries: Inquiries, asked: argparse.Namespace) -> str:
    if (asked.to is None) != (asked.sender is None):
        raise ValueError("a mail needs both: --from and --to")
    mail = {"from": asked.sender, "to": asked.to} if asked.to is not None else {}
    test = await inquiries.test(asked.account, asked.name, ACTOR, mail)
    if asked.no_wait:
        return f"Test {test} of provider {asked.name} is asked for."
    # Workers look every few seconds, and what is asked here is told to nobody before the command ends.
    until = time.monotonic() + _PATIENCE_SECONDS
    row = await inquiries.show_test(asked.account, asked.name, test)
    while row["state"] in OPEN:
        if time.monotonic() > until:
            raise Unavailable(f"no worker has answered test {test} yet; see that workers run")
        await asyncio.sleep(_LOOK_SECONDS)
        row = await inquiries.show_test(asked.account, asked.name, test)
    text = tables.test(row)
    if row["state"] != InquiryState.DONE:
        raise AdminError(text)
    return text


async def _reseal(inquiries: Inquiries, asked: argparse.Namespace) -> str:
    if asked.name is None:
        count = await inquiries.reseal_providers(asked.account, ACTOR)
        return f"{count} secrets are to be sealed anew. `provider show` tells when each was."
    if not await inquiries.reseal(asked.account, asked.name, ACTOR):
        return f"Provider {asked.name} has no secret, or it is being sealed anew already."
    return f"The secret of provider {asked.name} is to be sealed anew. `provider show` tells when it was."


async def _set_secret(providers: Providers, asked: argparse.Namespace) -> str:
    await providers.set_secret(asked.account, asked.name, None if asked.none else _secret("--file", asked.file))
    return f"Provider {asked.name} has {'no secret any more' if asked.none else 'another secret'}."


async def _enable(providers: Providers, asked: argparse.Namespace) -> str:
    await providers.switch(asked.account, asked.name, enabled=True)
    return f"Provider {asked.name} is used again."


async def _disable(providers: Providers, asked: argparse.Namespace) -> str:
    await providers.switch(asked.account, asked.name, enabled=False)
    return f"Provider {asked.name} is used no more; mail that has no other provider waits."


async def _delete(providers: Providers, asked: argparse.Namespace) -> str:
    await providers.delete(asked.account, asked.name)
    return f"Provider {asked.name} is deleted."


_CHANGES = {
    "create": _create,
    "set": _set,
    "secret": _set_secret,
    "enable": _enable,
    "disable": _disable,
    "delete": _delete,
}


def _secret(option: str, path: str) -> str:
    secret = lines(option, path)[0]
    if not secret:
        raise ValueError(f"{option} {path}: its first line is empty; it is the secret")
    return secret


def _without_nulls(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
