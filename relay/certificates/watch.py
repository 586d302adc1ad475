"""Has an eye on the files of the certificates, and takes up what changes (TLS-005, TLS-013)."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import structlog
from prometheus_client import Counter
from watchfiles import awatch

from backing.certificates.material import BadCertificate, BadKey, Material
from relay.certificates.files import CertificateFiles, folders, read, read_pair, stamp
from relay.certificates.tls import FALLBACK, BadAuthority, Certificates

# A look without being told that anything changed, for file systems that do not tell.
POLL_SECONDS: Final = 10.0
# How long files that do not fit each other may be half of a change that is still being written.
PATIENCE_SECONDS: Final = 0.5
_DEBOUNCE_MS: Final = 200
_QUIET_MS: Final = 50
# Places beside those of the pairs; no file has such a name.
_AUTHORITY: Final = "/client authority"
_FOLDER: Final = "/folder"
_NOT_IN_FOLDER: Final = {FALLBACK, _AUTHORITY, _FOLDER}

# What a look found in a place: a pair, an authority, why it could not be read, or nothing any more.
_Found = Material | bytes | str | None


@dataclass(slots=True)
class _Suspect:
    """Something that cannot be used, and that may be half of a change."""

    found: _Found
    since: float
    told: bool = False


class Watch:
    """Takes up what changes in the files; what cannot be used is kept out and told once (EC-1).

    Args:
        files: where to look.
        certificates: what sessions are served with.
        reloads: counts changes by result: accepted, refused, unchanged.
        poll_seconds: longest time between two looks.
    """

    def __init__(
        self, files: CertificateFiles, certificates: Certificates, reloads: Counter, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._files = files
        self._certificates = certificates
        self._reloads = reloads
        self._poll_seconds = poll_seconds
        self._stirred = asyncio.Event()
        self._suspects: dict[str, _Suspect] = {}
        self._stamps: dict[str, object] = {}
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Watch until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            both = (tasks.create_task(self._listen()), tasks.create_task(self._look_again()))
            try:
                yield self
            finally:
                for task in both:
                    task.cancel()

    async def _look_again(self) -> None:
        # A change may come before the system has begun to tell of changes, at the start or of a new folder.
        soon = wait = min(PATIENCE_SECONDS, self._poll_seconds)
        while True:
            self._stirred.clear()
            untold = await self._try_to_look()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS if untold else wait):
                    await self._stirred.wait()
                wait = soon
            except TimeoutError:
                wait = self._poll_seconds

    async def _try_to_look(self) -> bool:
        try:
            return await asyncio.to_thread(self._look)
        except Exception:  # noqa: BLE001 - told with its traceback
            # The relay goes on with the certificates that it has, whatever is wrong with its eyes.
            self._log.exception("certificates not looked at")
            return False

    async def _listen(self) -> None:
        """Have the system tell of changes; where it cannot, looking now and then has to do."""
        told = False
        while True:
            try:
                await self._hear(await asyncio.to_thread(folders, self._files))
            except (OSError, RuntimeError) as error:
                if not told:
                    self._log.warning("certificates are only looked at now and then", reason=str(error))
                told = True
                await asyncio.sleep(self._poll_seconds)

    async def _hear(self, watched: Mapping[Path, tuple[int, int]]) -> None:
        changes = awatch(
            *watched,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_QUIET_MS,
            rust_timeout=round(self._poll_seconds * 1000),
            yield_on_timeout=True,
            recursive=False,
        )
        async with aclosing(changes):
            async for _ in changes:
                self._stirred.set()
                if await asyncio.to_thread(folders, self._files) != watched:
                    return

    def _look(self) -> bool:
        """Look at all files once, in a thread; tell whether something is wrong that may still come right by itself."""
        files = self._files
        if files.authority:
            self._take(_AUTHORITY, read(files.authority), stamp(files.authority))
        if files.certificate and files.key:
            self._take(FALLBACK, read_pair(files.certificate, files.key), stamp(files.certificate, files.key))
            self._look_at_folder()
        return not all(suspect.told for suspect in self._suspects.values())

    def _look_at_folder(self) -> None:
        files = self._files
        try:
            pairs = files.pairs()
        except OSError as error:
            self._suspect(_FOLDER, f"{files.folder} cannot be read: {error.strerror}")
        else:
            self._suspects.pop(_FOLDER, None)
            for place, pair in pairs.items():
                self._take(place, read_pair(*pair), stamp(*pair))
            for place in (self._certificates.places | self._suspects.keys()) - pairs.keys() - _NOT_IN_FOLDER:
                self._forget(place)

    def _take(self, place: str, found: Material | bytes | str, state: object) -> None:
        known, self._stamps[place] = self._stamps.get(place), state
        try:
            changed = self._offer(place, found)
        except (BadCertificate, BadKey, BadAuthority) as fault:
            self._suspect(place, found, fault)
            return
        self._suspects.pop(place, None)
        if changed:
            self._reloads.labels("accepted").inc()
        elif known not in (None, state):
            self._reloads.labels("unchanged").inc()

    def _offer(self, place: str, found: Material | bytes | str) -> bool:
        """Have something taken up; tell whether it is new."""
        if isinstance(found, str):
            raise BadCertificate(found)
        if isinstance(found, bytes):
            changed = self._certificates.trust(found)
            if changed:
                self._log.info("client authority changed", file=self._name(place))
            return changed
        offer = self._certificates.offer(place, found)
        if offer.changed:
            certificate = offer.certificate
            expires, names = certificate.expires_at.isoformat(), sorted(certificate.names)
            self._log.info("certificate changed", file=self._name(place), names=names, expires=expires)
        if offer.lost:
            self._log.warning("certificate no longer has names", file=self._name(place), names=sorted(offer.lost))
        return offer.changed

    def _suspect(self, place: str, found: _Found, fault: Exception | None = None) -> None:
        """Give what is wrong some time to come right; say it once if it does not."""
        now = time.monotonic()
        suspect = self._suspects.get(place)
        if suspect is None or suspect.found != found:
            suspect = self._suspects[place] = _Suspect(found, now)
        if suspect.told or now - suspect.since < PATIENCE_SECONDS:
            return
        suspect.told = True
        self._reloads.labels("refused").inc()
        self._log.error("certificate kept out", file=self._name(place), reason=str(fault or found))

    def _forget(self, place: str) -> None:
        """Serve a pair no longer that was taken away, unless it is only being replaced."""
        now = time.monotonic()
        suspect = self._suspects.get(place)
        if suspect is None or suspect.found is not None:
            suspect = self._suspects[place] = _Suspect(None, now)
        if now - suspect.since < PATIENCE_SECONDS:
            return
        del self._suspects[place]
        self._stamps.pop(place, None)
        if place in self._certificates.places:
            names = sorted(self._certificates.withdraw(place))
            self._reloads.labels("accepted").inc()
            self._log.warning("certificate taken away", file=self._name(place), names=names)

    def _name(self, place: str) -> str:
        if place in (_AUTHORITY, _FOLDER):
            return str(self._files.authority if place == _AUTHORITY else self._files.folder)
        return str(self._files.folder / f"{place}.pem" if place and self._files.folder else self._files.certificate)
