"""`python -m backing`: the operator's command, run as a one-off task of the worker's image."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass

import structlog

from backing import listings
from backing.admin.accounts import Accounts
from backing.admin.credentials import Credentials, IssuedCredential
from backing.admin.desk import AdminError, Desk
from backing.admin.suppressions import SuppressionLists
from backing.arguments import demand, new_account, new_credential, options, parse, provider, suppressed
from backing.aws import Aws
from backing.cache import Cache
from backing.notices import Notice, publish
from backing.overhear import overhear
from backing.postgres import migrate
from backing.postgres.pool import Database, sign_in
from backing.secrets import BadSecret, Vault, credential_key
from backing.settings import (
    CacheSettings,
    ConfigurationError,
    CredentialKeySettings,
    ProviderKeySettings,
    Settings,
    read,
)
from mail.errors import Unavailable

EX_FAILED, EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 1, 2, 69, 78


class AdminSettings(CredentialKeySettings, ProviderKeySettings, CacheSettings):
    """What the operator's command reads from its environment."""


@dataclass(frozen=True, slots=True)
class Office:
    """All that an operator can change."""

    accounts: Accounts
    credentials: Credentials
    suppressions: SuppressionLists


@asynccontextmanager
async def _office(settings: AdminSettings) -> AsyncIterator[Office]:
    """Open what changes need; afterwards the relays are told of those that were made."""
    aws = Aws(settings.aws_region)
    async with aws.secrets() as secrets, aws.kms() as kms, Database(settings, aws).opened() as database:
        desk = Desk(database)
        credentials = Credentials(desk, await credential_key(secrets, settings.credential_key_secret))
        accounts = Accounts(desk, Vault(kms, settings.provider_key), credentials)
        yield Office(accounts, credentials, SuppressionLists(desk))
        await _tell_relays(settings, aws, desk.notices)


async def _tell_relays(settings: AdminSettings, aws: Aws, notices: Sequence[Notice]) -> None:
    if not notices:
        return
    async with Cache(settings, aws).opened() as cache:
        try:
            for notice in notices:
                await publish(cache, notice)
        except Unavailable as fault:
            why = str(fault) if cache.configured else "CACHE_URL names no cache"
            sys.stderr.write(
                f"note: relays could not be told ({why}); each will know within RELAY_CREDENTIAL_CACHE_SECONDS,"
                " one minute by default\n"
            )


async def _overhear(arguments: argparse.Namespace) -> None:
    asked, settings = demand(arguments), read(CacheSettings)
    if not settings.cache_url:
        raise AdminError("CACHE_URL names no cache; a transcript comes through it")

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    away: Unavailable | None = None
    async with Cache(settings, Aws(settings.aws_region)).opened() as cache:
        # Raised outside of the block, which has tasks of its own and would raise a group.
        try:
            await overhear(cache, asked, write)
        except Unavailable as fault:
            away = fault
    if away:
        raise away


def _migrate(arguments: argparse.Namespace) -> str:
    settings = read(Settings)
    chosen = asyncio.run(sign_in(settings, Aws(settings.aws_region)))
    # A migration may rewrite a table; only its wait for locks is bounded.
    target = migrate.Target(settings.database_url, chosen | {"options": ""})
    match arguments.verb:
        case "up":
            return f"The schema is at {migrate.upgrade(target, arguments.revision)}."
        case "down":
            return f"The schema is at {migrate.downgrade(target, arguments.revision)}."
        case _:
            return migrate.current(target)


async def _change(arguments: argparse.Namespace) -> str:
    async with _office(read(AdminSettings)) as office:
        match arguments.noun:
            case "account":
                return await _account(office.accounts, arguments)
            case "credential":
                return await _credential(office.credentials, arguments)
            case _:
                return await _suppression(office.suppressions, arguments)


async def _account(accounts: Accounts, arguments: argparse.Namespace) -> str:
    match arguments.verb:
        case "create":
            return _issued(await accounts.create(new_account(arguments)), as_json=arguments.json)
        case "list":
            rows = await accounts.all()
            return json.dumps(rows) if arguments.json else listings.accounts(rows)
        case "show":
            row = await accounts.show(arguments.name)
            return json.dumps(row) if arguments.json else listings.account(row)
        case verb:
            return await _CHANGES[verb](accounts, arguments)


async def _set(accounts: Accounts, arguments: argparse.Namespace) -> str:
    await accounts.change(arguments.name, options(arguments))
    return listings.account(await accounts.show(arguments.name))


async def _provide(accounts: Accounts, arguments: argparse.Namespace) -> str:
    await accounts.set_provider(arguments.name, provider(arguments))
    return f"Account {arguments.name} now delivers through {arguments.provider or arguments.smtp}."


async def _disable(accounts: Accounts, arguments: argparse.Namespace) -> str:
    await accounts.disable(arguments.name)
    return f"Account {arguments.name} can sign in no more; what it sent is still delivered."


async def _enable(accounts: Accounts, arguments: argparse.Namespace) -> str:
    await accounts.enable(arguments.name)
    return f"Account {arguments.name} can sign in again."


async def _delete(accounts: Accounts, arguments: argparse.Namespace) -> str:
    gone = await accounts.delete(arguments.name)
    went = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in gone.items())
    return f"Account {arguments.name} is deleted, and with it: {went}. Its messages stay on record."


_CHANGES = {"set": _set, "provider": _provide, "disable": _disable, "enable": _enable, "delete": _delete}


async def _credential(credentials: Credentials, arguments: argparse.Namespace) -> str:
    match arguments.verb:
        case "create":
            made = await credentials.create(arguments.account, new_credential(arguments))
            return _issued(made, as_json=arguments.json)
        case "list":
            rows = await credentials.of(arguments.account)
            return json.dumps(rows) if arguments.json else listings.credentials(rows)
        case _:
            await credentials.revoke(arguments.username)
            return f"Credential {arguments.username} can sign in no more."


async def _suppression(lists: SuppressionLists, arguments: argparse.Namespace) -> str:
    match arguments.verb:
        case "add":
            count = await lists.add(arguments.account, suppressed(arguments), arguments.reason, arguments.until)
            return (
                f"{arguments.account} sends to {count} addresses no more."
                if count > 1
                else (f"{arguments.account} sends to this address no more.")
            )
        case "list":
            several = await lists.newest(arguments.account, arguments.most)
            if arguments.json:
                return json.dumps([listings.suppression(one) for one in several])
            return listings.suppressions(several)
        case _:
            await lists.remove(arguments.account, arguments.address)
            return f"{arguments.account} may send to {', '.join(arguments.address)} again."


def _issued(credential: IssuedCredential, *, as_json: bool) -> str:
    return json.dumps(asdict(credential)) if as_json else listings.issued(credential)


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 done, 1 refused, 2 usage, 69 something is down, 78 configuration."""
    asked = parse(arguments)
    try:
        said = _do(asked)
    except (AdminError, BadSecret) as error:
        return _fail(EX_FAILED, f"{error}")
    except ValueError as error:
        return _fail(EX_USAGE, f"{error}")
    except Unavailable as error:
        return _fail(EX_UNAVAILABLE, f"{error}")
    except ConfigurationError as error:
        return _fail(EX_CONFIG, f"{error}")
    sys.stdout.write(said + "\n")
    return 0


def _do(asked: argparse.Namespace) -> str:
    match asked.noun:
        case "migrate":
            return _migrate(asked)
        case "transcript":
            with suppress(KeyboardInterrupt):
                asyncio.run(_overhear(asked))
            return "stopped"
        case _:
            return asyncio.run(_change(asked))


def _fail(code: int, text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return code


if __name__ == "__main__":
    # What is wrong is said in words of the command's own.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    sys.exit(main(sys.argv[1:]))
