"""The renewer: looks whether a certificate is due, has it issued, puts it in its place, remembers what went wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from backing.certificates.bundle import IMPORTED, Bundle
from backing.certificates.ledger import Busy, Ledger
from backing.certificates.material import BadCertificate, BadKey, Certificate, Material, examine
from backing.certificates.record import Record, Result, decode, encode
from backing.certificates.store import Backup, Store, Texts
from backing.ids import now
from backing.metrics import CertificateMetrics
from mail.errors import Unavailable
from worker.certificates.account import BadAccounts
from worker.certificates.due import Window, decide
from worker.certificates.faults import Later, Rejected
from worker.certificates.keys import new_key, pem, request
from worker.certificates.memory import Memory, remembered, written
from worker.certificates.report import report
from worker.certificates.server import AcmeServer
from worker.certificates.solvers import Solver
from worker.certificates.standing import Outcome, Standing, Wish, examined

# Refusals in one run after which it gives up: Let's Encrypt allows five failed validations of a name in an hour.
_REFUSALS: Final = 3


@dataclass(frozen=True, slots=True)
class Means:
    """What the renewer works with.

    Attributes:
        store: where the certificate is kept.
        ledger: the lock, and what is known from runs before.
        record: what everybody may know.
        server: the ACME server.
        solver: proves the names.
        metrics: what is counted.
        tell: writes the metrics at once, so that failures are seen while the run goes on.
        backup: gets a copy of each certificate.
    """

    store: Store
    ledger: Ledger
    record: Texts
    server: AcmeServer
    solver: Solver
    metrics: CertificateMetrics
    tell: Callable[[], object] = lambda: None
    backup: Backup | None = None


class Renewer:
    """Keeps one certificate good.

    Args:
        wish: what is wanted.
        means: what to do it with.
        sleep: waits between attempts.
    """

    def __init__(self, wish: Wish, means: Means, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._wish = wish
        self._means = means
        self._metrics = means.metrics
        self._sleep = sleep
        self._memory = Memory()
        self._issued: Bundle | None = None
        self._windows: dict[int, Window | None] = {}
        self._log = structlog.get_logger()

    async def renew(self, *, force: bool = False, revoke: bool = False) -> Outcome:
        """Have a new certificate issued if it is due.

        Args:
            force: whether or not it is, and however many were issued lately; the server's own limits are obeyed.
            revoke: have the old one revoked when the new one is in its place, for its key is known to others.
        """
        try:
            outcome = await self._renew(force=force, revoke=revoke)
        except Busy as fault:
            outcome = Outcome("busy", str(fault))
        except Unavailable as fault:
            self._metrics.failures.inc()
            self._log.error("certificate not looked after", names=self._wish.names, reason=str(fault))
            outcome = Outcome("failed", str(fault))
        if outcome.result != "busy":
            await self._report(outcome.result)
        self._metrics.runs.labels(outcome.result).inc()
        self._metrics.heartbeats.inc()
        self._means.tell()
        return outcome

    async def look(self) -> Standing:
        """See how things are. Raises `Unavailable`."""
        memory = remembered(await self._means.ledger.look())
        kept = await self._means.store.read()
        certificate, source = examined(kept, now())
        self._metrics.failures_in_a_row.set(memory.failures)
        good = None if isinstance(certificate, str) else certificate
        if good:
            self._metrics.seconds_left.set((good.expires_at - now()).total_seconds())
        replaced = good if source == self._wish.source else None
        window = await self._window(replaced) if replaced else None
        verdict = decide(good, self._wish.names, window, now(), self._wish.interval)
        return Standing(kept, certificate, verdict, memory, window, replaced)

    async def put(self, material: Material) -> Certificate:
        """Put a certificate from elsewhere in its place.

        Raises:
            BadCertificate: it is not fit to be served, or lacks names.
            BadKey: its key is not fit.
            Busy: a run is under way.
            Unavailable: it cannot be stored.
        """
        certificate = examine(material, now())
        certificate.check_names(self._wish.names)
        memory = await self._means.ledger.take()
        try:
            await self._place(Bundle(material, self._wish.names, IMPORTED))
            memory = written(remembered(memory).succeeded())
        finally:
            await self._means.ledger.release(memory)
        await self._report("imported")
        return certificate

    async def _renew(self, *, force: bool, revoke: bool) -> Outcome:
        standing = await self.look()
        if not (force or standing.verdict.order):
            return Outcome("kept", f"not due before {standing.verdict.at:%Y-%m-%d %H:%M} UTC, {standing.verdict.why}")
        self._memory = remembered(await self._means.ledger.take())
        try:
            # Another run may have had it issued between our look and our turn.
            standing = await self.look()
            if not (force or standing.verdict.order):
                return Outcome("kept", "another run has renewed it")
            if hold := self._memory.hold(now(), force=force):
                return Outcome("waiting", f"not before {hold[0]:%Y-%m-%d %H:%M:%S} UTC: {hold[1]}")
            return await self._try(standing, revoke=revoke)
        finally:
            await self._write_down(self._means.ledger.release)

    async def _try(self, standing: Standing, *, revoke: bool) -> Outcome:
        """Try until it is in its place, or there is no sense in trying further."""
        self._log.info("certificate is due", names=self._wish.names, why=standing.verdict.why)
        refusals, waits = 0, iter(self._wish.waits)
        while fault := await self._issue(standing.replaced):
            refusals += isinstance(fault, Rejected | BadAccounts)
            pause = self._failed(fault, None if refusals >= _REFUSALS else next(waits, None))
            await self._write_down(self._means.ledger.save)
            if pause is None:
                return Outcome("waiting" if isinstance(fault, Later) else "failed", str(fault))
            await self._sleep(pause)
        self._memory = self._memory.succeeded()
        self._metrics.failures_in_a_row.set(0)
        return Outcome("renewed", await self._revoke(standing.certificate) if revoke else "renewed")

    async def _issue(self, replaced: Certificate | None) -> Exception | None:
        """Have it issued, once in a run, and put it in its place; give what kept it from there."""
        try:
            if self._issued is None:
                self._issued = await self._order(replaced)
                self._memory = self._memory.got_one(now())
                await self._write_down(self._means.ledger.save)
            await self._place(self._issued)
        except (Unavailable, Rejected, Later, BadAccounts) as fault:
            return fault
        return None

    def _failed(self, fault: Exception, wait: float | None) -> float | None:
        """Count a failure; give the seconds before the next attempt, or None where there is none in this run."""
        until, pause = None, wait
        if isinstance(fault, Later):
            self._metrics.rate_limits.inc()
            until = now() + timedelta(seconds=fault.seconds)
            longest = max(self._wish.waits, default=0.0)
            pause = None if wait is None or fault.seconds > longest else max(wait, fault.seconds)
        self._memory = self._memory.failed(str(fault), until)
        self._metrics.failures.inc()
        self._metrics.failures_in_a_row.set(self._memory.failures)
        self._means.tell()
        self._log.error(
            "certificate not renewed",
            names=self._wish.names,
            reason=str(fault),
            failures_in_a_row=self._memory.failures,
            again_in_seconds=pause,
        )
        return pause

    async def _write_down(self, write: Callable[[str], Awaitable[None]]) -> None:
        """Leave what is known for the next run; the certificate is more important than that."""
        try:
            await write(written(self._memory))
        except Unavailable as fault:
            self._log.error("run not written down", reason=str(fault))

    async def _report(self, result: Result) -> None:
        """Leave word of how things stand now for who asks; that, too, is not as important as the certificate."""
        try:
            await self._means.record.write(encode(await self._recorded(result)))
        except Unavailable as fault:
            self._log.error("record not written", names=self._wish.names, reason=str(fault))

    async def _recorded(self, result: Result) -> Record:
        host = self._wish.names[0]
        try:
            return report(host, await self.look(), result, now())
        except Unavailable as fault:
            # What was seen of the certificate before is the best that is known of it.
            before = decode(await self._means.record.read() or "") or Record(host)
            return replace(before, checked_at=now(), result=result, failure=str(fault))

    async def _order(self, replaced: Certificate | None) -> Bundle:
        key = new_key(self._wish.key_type)
        chain = await self._means.server.order(
            self._wish.names, request(key, self._wish.names), self._means.solver, replaced
        )
        material = Material(chain, pem(key))
        try:
            examine(material, now()).check_names(self._wish.names)
        except (BadCertificate, BadKey) as fault:
            raise Rejected(f"the ACME server issued a certificate that {fault}") from None
        return Bundle(material, self._wish.names, self._wish.source)

    async def _place(self, bundle: Bundle) -> None:
        """Put a certificate in its place, and a copy in the backup, without which it is good all the same."""
        await self._means.store.write(bundle)
        certificate = examine(bundle.material, now())
        self._metrics.seconds_left.set((certificate.expires_at - now()).total_seconds())
        self._log.info(
            "certificate in its place", names=sorted(certificate.names), expires=certificate.expires_at.isoformat()
        )
        if self._means.backup is None:
            return
        try:
            self._log.info("certificate copied", key=await self._means.backup.keep(bundle))
        except Unavailable as fault:
            self._metrics.backup_failures.inc()
            self._log.error("certificate not copied", reason=str(fault))

    async def _revoke(self, old: Certificate | str) -> str:
        if isinstance(old, str):
            return "renewed; there was none to revoke"
        try:
            await self._means.server.revoke(old)
        except (Unavailable, Rejected, Later) as fault:
            self._log.error("certificate not revoked", serial=f"{old.leaf.serial_number:x}", reason=str(fault))
            return f"renewed, but the old certificate is not revoked: {fault}"
        return "renewed, and the old certificate revoked"

    async def _window(self, certificate: Certificate) -> Window | None:
        """Ask when the server wants a certificate to be renewed, once in a run."""
        number = certificate.leaf.serial_number
        if number not in self._windows:
            try:
                self._windows[number] = await self._means.server.window(certificate)
            except (Unavailable, Rejected, Later) as fault:
                # Then its lifetime decides; a server that is really away is seen when it is due.
                self._log.warning("no renewal information", reason=str(fault))
                self._windows[number] = None
        return self._windows[number]
