"""`python -m backing`: the operator's command, run as a one-off task of the worker's image."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backing.admin import Admin, AdminError, IssuedCredential
from backing.arguments import new_account, parse, provider
from backing.aws import Aws
from backing.postgres import migrate
from backing.postgres.pool import Database, sign_in
from backing.secrets import BadSecret, Vault, credential_key
from backing.settings import ConfigurationError, CredentialKeySettings, ProviderKeySettings, Settings, read
from mail.errors import Unavailable

EX_FAILED, EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 1, 2, 69, 78


class AdminSettings(CredentialKeySettings, ProviderKeySettings):
    """What the operator's command reads from its environment."""


@asynccontextmanager
async def _admin(settings: AdminSettings) -> AsyncIterator[Admin]:
    aws = Aws(settings.aws_region)
    async with aws.secrets() as secrets, aws.kms() as kms, Database(settings, aws).opened() as database:
        key = await credential_key(secrets, settings.credential_key_secret)
        yield Admin(database, Vault(kms, settings.provider_key), key)


def _migrate(arguments: argparse.Namespace) -> str:
    settings = read(Settings)
    options = asyncio.run(sign_in(settings, Aws(settings.aws_region)))
    # A migration may rewrite a table; only its wait for locks is bounded.
    target = migrate.Target(settings.database_url, options | {"options": ""})
    match arguments.verb:
        case "up":
            return f"The schema is at {migrate.upgrade(target, arguments.revision)}."
        case "down":
            return f"The schema is at {migrate.downgrade(target, arguments.revision)}."
        case _:
            return migrate.current(target)


async def _change(arguments: argparse.Namespace) -> str:
    async with _admin(read(AdminSettings)) as admin:
        match arguments.noun, arguments.verb:
            case "account", "create":
                return _issued(await admin.create_account(new_account(arguments)), as_json=arguments.json)
            case "account", "list":
                return _listed(await admin.accounts(), as_json=arguments.json)
            case "account", "provider":
                await admin.set_provider(arguments.name, provider(arguments))
                return f"Account {arguments.name} now delivers through {arguments.provider or arguments.smtp}."
            case "account", _:
                await admin.disable_account(arguments.name)
                return f"Account {arguments.name} can sign in no more; what it sent is still delivered."
            case _, "create":
                issued = await admin.create_credential(arguments.account, arguments.username)
                return _issued(issued, as_json=arguments.json)
            case _:
                await admin.revoke_credential(arguments.username)
                return f"Credential {arguments.username} can sign in no more."


def _issued(issued: IssuedCredential, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"account": issued.account, "username": issued.username, "secret": issued.secret})
    return (
        f"Account   {issued.account}\nUsername  {issued.username}\nPassword  {issued.secret}\n"
        "The password is shown only now; it is not stored."
    )


def _listed(accounts: list[dict[str, object]], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(accounts)
    lines = [f"{'ACCOUNT':<20} {'PROVIDER':<16} {'CREDENTIALS':<11} {'STATE':<9} DOMAINS"]
    for account in accounts:
        state, domains = "disabled" if account["disabled"] else "enabled", account["allowed_domains"]
        names = ", ".join(domains) if isinstance(domains, list) else ""
        lines.append(
            f"{account['name']:<20} {account['provider'] or '-':<16} {account['credentials']:<11} {state:<9} {names}"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 done, 1 refused, 2 usage, 69 something is down, 78 configuration."""
    asked = parse(arguments)
    try:
        said = _migrate(asked) if asked.noun == "migrate" else asyncio.run(_change(asked))
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


def _fail(code: int, text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
