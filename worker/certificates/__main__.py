"""The renewer of certificates: `python -m worker.certificates renew|issue|status|import|roll-account-key`.

One run looks after one certificate. A schedule starts `renew`; the others are for people.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from backing import log
from backing.aws import Aws
from backing.cache import Cache
from backing.certificates.files import CERTIFICATE_MODE, PairOfFiles, TextFile
from backing.certificates.ledger import Busy, FileLedger, Ledger, TableLedger
from backing.certificates.material import BadCertificate, BadKey, Material
from backing.certificates.record import Result, TableText
from backing.certificates.secrets import Secret
from backing.certificates.store import Backup, SecretStore, Store, Texts
from backing.emf import Emf, standard_output
from backing.ids import now
from backing.metrics import CertificateMetrics
from backing.route53 import Zone
from backing.settings import ConfigurationError, read
from mail.errors import Unavailable
from worker.certificates.account import AccountBook, BadAccounts
from worker.certificates.faults import Later, Rejected
from worker.certificates.renewer import Means, Renewer
from worker.certificates.server import AcmeServer
from worker.certificates.settings import CertificateSettings
from worker.certificates.solvers import DnsSolver, HttpSolver, Solver
from worker.certificates.standing import Standing, Wish

_SERVICE: Final = "renewer"
# In the folder of a renewer that keeps files; the relay reads the pair, and nothing else there.
_PAIR, _ACCOUNT, _LEDGER, _RECORD = "server", "acme-account.json", "acme-runs.json", "server.json"
_CODES: Final[Mapping[Result, int]] = {
    "renewed": os.EX_OK,
    "kept": os.EX_OK,
    "waiting": os.EX_TEMPFAIL,
    "busy": os.EX_TEMPFAIL,
    "failed": os.EX_UNAVAILABLE,
    "imported": os.EX_OK,
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What commands work with."""

    settings: CertificateSettings
    renewer: Renewer
    server: AcmeServer


def main(arguments: list[str] | None = None) -> int:
    """Run a command; give its exit code."""
    asked = parser().parse_args(arguments)
    try:
        settings = read(CertificateSettings)
        log.configure(_SERVICE, settings.log_level)
        return asyncio.run(run(settings, asked))
    except (ConfigurationError, BadAccounts, BadCertificate, BadKey) as fault:
        sys.stderr.write(f"{fault}\n")
        return os.EX_CONFIG
    except (Unavailable, Rejected, Later) as fault:
        sys.stderr.write(f"{fault}\n")
        return os.EX_UNAVAILABLE
    except Busy as fault:
        sys.stderr.write(f"{fault}\n")
        return os.EX_TEMPFAIL
    except asyncio.CancelledError:
        sys.stderr.write("told to stop\n")
        return os.EX_TEMPFAIL


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m worker.certificates", description=(__doc__ or "").partition("\n")[0])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("renew", help="have a new certificate issued if it is due")
    issue = commands.add_parser("issue", help="have a new certificate issued now")
    issue.add_argument(
        "--revoke-old", action="store_true", help="then revoke the one before: its key is known to others"
    )
    commands.add_parser("status", help="show what is kept and when it is due")
    bought = commands.add_parser("import", help="put a certificate from elsewhere in its place")
    bought.add_argument("--certificate", type=Path, required=True, metavar="FILE", help="PEM, the server's first")
    bought.add_argument("--key", type=Path, required=True, metavar="FILE", help="PEM, not encrypted")
    commands.add_parser("roll-account-key", help="change the key of the account at the ACME server")
    return top


async def run(settings: CertificateSettings, asked: argparse.Namespace) -> int:
    """Put the parts together, and run a command; a signal ends it as well as it can be ended."""
    task = asyncio.current_task()
    assert task  # noqa: S101 - asyncio runs us
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        return await COMMANDS[asked.command](await furnish(stack, settings), asked)


async def furnish(stack: AsyncExitStack, settings: CertificateSettings) -> Desk:
    """Open what the renewer leans on."""
    aws, registry = Aws(settings.aws_region), CollectorRegistry()
    places = await found(stack, settings, aws)
    bucket = settings.certificate_backup_bucket
    backup = Backup(await stack.enter_async_context(aws.s3()), bucket) if bucket else None
    solver = await stack.enter_async_context(solving(settings, aws))
    book = AccountBook(places.accounts, settings.acme_directory_url)
    server = AcmeServer(settings.acme_directory_url, book, settings.acme_email, settings.acme_seconds)
    wish = Wish(
        settings.certificate_names,
        settings.acme_directory_url,
        settings.certificate_key_type,
        settings.renewal_wait_seconds,
        timedelta(seconds=settings.renewal_interval_seconds),
    )
    emf = Emf(registry, settings.metrics_namespace, _SERVICE, standard_output)
    tell = emf.flush if settings.metrics_emf else lambda: None
    metrics = CertificateMetrics(registry)
    means = Means(places.store, places.ledger, places.record, server, solver, metrics, tell, backup)
    return Desk(settings, Renewer(wish, means), server)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the certificate, the accounts, the lock, and what everybody may know are."""

    store: Store
    accounts: Texts
    ledger: Ledger
    record: Texts


async def found(stack: AsyncExitStack, settings: CertificateSettings, aws: Aws) -> Places:
    """Give where all of it is: in AWS, or in a folder."""
    if settings.certificate_folder:
        folder = Path(settings.certificate_folder)
        store, accounts, record = PairOfFiles(folder, _PAIR), folder / _ACCOUNT, folder / _RECORD
        return Places(store, TextFile(accounts), FileLedger(folder / _LEDGER), TextFile(record, CERTIFICATE_MODE))
    secrets = await stack.enter_async_context(aws.secrets())
    client = await stack.enter_async_context(aws.dynamodb())
    table, host = settings.lock_table, settings.certificate_names[0]
    return Places(
        SecretStore(Secret(secrets, settings.certificate_secret)),
        Secret(secrets, settings.acme_account_secret),
        TableLedger(client, table, f"lock#acme#{host}"),
        TableText(client, table, host),
    )


@asynccontextmanager
async def solving(settings: CertificateSettings, aws: Aws) -> AsyncIterator[Solver]:
    """What proves names."""
    if settings.acme_challenge == "http-01":
        async with Cache(settings, aws).opened() as cache:
            yield HttpSolver(cache)
    else:
        async with aws.route53() as client:
            yield DnsSolver(Zone(client, settings.dns_zone_id), settings.dns_servers, settings.acme_seconds)


async def renew(desk: Desk, asked: argparse.Namespace) -> int:
    """Have a new certificate issued, if it is due or if it is told to."""
    force = asked.command == "issue"
    outcome = await desk.renewer.renew(force=force, revoke=force and asked.revoke_old)
    structlog.get_logger().info("run ended", result=outcome.result, words=outcome.words)
    return _CODES[outcome.result]


async def status(desk: Desk, _: argparse.Namespace) -> int:
    """Show how things are; the exit code says whether they are good."""
    standing = await desk.renewer.look()
    sys.stdout.write("".join(f"{name:<12} {words}\n" for name, words in told(desk.settings, standing).items()))
    overdue = standing.verdict.order and standing.verdict.at <= now()
    return os.EX_UNAVAILABLE if overdue or standing.memory.failures else os.EX_OK


def told(settings: CertificateSettings, standing: Standing) -> dict[str, str]:
    """Say how things are."""
    certificate, memory = standing.certificate, standing.memory
    said = {"names": ", ".join(settings.certificate_names), "server": settings.acme_directory_url}
    if isinstance(certificate, str):
        said["certificate"] = certificate
    else:
        days = (certificate.expires_at - now()) / timedelta(days=1)
        said["certificate"] = f"serial {certificate.leaf.serial_number:x}, for {', '.join(sorted(certificate.names))}"
        said["expires"] = f"{certificate.expires_at:%Y-%m-%d %H:%M} UTC, in {days:.1f} days"
    if standing.window:
        said["wished"] = f"{standing.window.start:%Y-%m-%d %H:%M} to {standing.window.end:%Y-%m-%d %H:%M} UTC (ARI)"
    said["due"] = f"{standing.verdict.at:%Y-%m-%d %H:%M} UTC, {standing.verdict.why}"
    if memory.failures:
        said["failures"] = f"{memory.failures} in a row, the last one: {memory.reason}"
    if hold := memory.hold(now()):
        said["held back"] = f"until {hold[0]:%Y-%m-%d %H:%M:%S} UTC: {hold[1]}"
    return said


async def bring_in(desk: Desk, asked: argparse.Namespace) -> int:
    """Put a certificate from elsewhere in its place."""
    try:
        material = Material(asked.certificate.read_bytes(), asked.key.read_bytes())
    except OSError as fault:
        raise ConfigurationError(f"{fault.filename} cannot be read: {fault.strerror}") from None
    certificate = await desk.renewer.put(material)
    sys.stdout.write(f"in its place; expires {certificate.expires_at:%Y-%m-%d %H:%M} UTC\n")
    return os.EX_OK


async def roll_account_key(desk: Desk, _: argparse.Namespace) -> int:
    """Change the key of the account at the ACME server."""
    await desk.server.roll_key()
    sys.stdout.write("the account has a new key\n")
    return os.EX_OK


COMMANDS: Final[Mapping[str, Callable[[Desk, argparse.Namespace], Awaitable[int]]]] = {
    "renew": renew,
    "issue": renew,
    "status": status,
    "import": bring_in,
    "roll-account-key": roll_account_key,
}


if __name__ == "__main__":
    sys.exit(main())
