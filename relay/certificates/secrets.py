"""Certificates from Secrets Manager: what the relay begins with, and the polling for new versions (TLS-017)."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import structlog
from prometheus_client import Counter

from backing.certificates.bootstrap import bootstrap
from backing.certificates.bundle import Bundle, decode
from backing.certificates.material import BadCertificate, BadKey, examine
from backing.certificates.secrets import Secret, Stage
from backing.ids import now
from backing.settings import ConfigurationError
from mail.errors import Unavailable
from relay.certificates.files import clients_of, read_authority
from relay.certificates.tls import FALLBACK, BadAuthority, Certificates
from relay.settings import RelaySettings

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager import SecretsManagerClient

# So that all relays do not ask in the same moment.
_JITTER: Final = 0.1
_STAGES: Final[tuple[Stage, ...]] = ("AWSCURRENT", "AWSPREVIOUS")
# A place beside those of certificates; no secret has such a name.
_AUTHORITY: Final = "client authority"


@dataclass(frozen=True, slots=True)
class CertificateSecrets:
    """Where certificates are.

    Attributes:
        pairs: the secret of each certificate by its place; the first is the one that serves unknown names.
        authority: PEM, what clients' certificates are checked against.
    """

    pairs: dict[str, Secret]
    authority: Secret | None = None

    @classmethod
    def of(cls, client: "SecretsManagerClient", settings: RelaySettings) -> Self:
        """Take them from the settings."""
        ids = settings.relay_certificate_secrets
        pairs = {FALLBACK if place == 0 else name: Secret(client, name) for place, name in enumerate(ids)}
        authority = settings.relay_client_ca_secret
        return cls(pairs, Secret(client, authority) if authority else None)

    def __bool__(self) -> bool:
        return bool(self.pairs or self.authority)


async def _authority(secret: Secret) -> bytes:
    text = await secret.read()
    if not text:
        raise ConfigurationError(f"RELAY_CLIENT_CA_SECRET: {secret.id} is no secret, or has nothing in it")
    return text.encode()


async def first_certificates(secrets: CertificateSecrets, settings: RelaySettings) -> Certificates:
    """Fetch what the relay begins with: the current version or else the previous one, or else a bootstrap certificate.

    Raises:
        ConfigurationError: the authority of clients' certificates cannot be used.
        Unavailable: Secrets Manager did not answer as it should.
    """
    found = {place: bundle for place, secret in secrets.pairs.items() if (bundle := await _usable(secret))}
    fallback = found.pop(FALLBACK, None)
    authority = await _authority(secrets.authority) if secrets.authority else read_authority(settings)
    clients = clients_of(settings, authority)
    try:
        if fallback:
            certificates = Certificates(fallback.material, clients)
        else:
            place = secrets.pairs[FALLBACK].id
            structlog.get_logger().error("no certificate yet, serving one of our own", secret=place)
            certificates = Certificates(bootstrap(settings.relay_hostname, now()), clients, bootstrap=True)
    except BadAuthority as fault:
        raise ConfigurationError(f"RELAY_CLIENT_CA_FILE or RELAY_CLIENT_CA_SECRET {fault}") from None
    for place, bundle in found.items():
        certificates.offer(place, bundle.material, bundle.names)
    return certificates


async def _usable(secret: Secret) -> Bundle | None:
    for stage in _STAGES:
        version = await secret.version(stage)
        if version is None:
            continue
        try:
            bundle = decode(version.text)
            examine(bundle.material, now()).check_names(bundle.names)
        except (BadCertificate, BadKey) as fault:
            structlog.get_logger().error("certificate kept out", secret=secret.id, version=stage, reason=str(fault))
        else:
            return bundle
    return None


class SecretWatch:
    """Takes up new versions of the secrets; what cannot be used is kept out and told once (TLS-005, EC-1).

    Args:
        secrets: where to look.
        certificates: what sessions are served with.
        reloads: counts changes by result: accepted, refused, unchanged.
        poll_seconds: time between two looks, give or take a tenth.
    """

    def __init__(
        self, secrets: CertificateSecrets, certificates: Certificates, reloads: Counter, poll_seconds: float
    ) -> None:
        self._secrets = secrets
        self._certificates = certificates
        self._reloads = reloads
        self._poll_seconds = poll_seconds
        self._seen: dict[str, str] = {}
        self._silent = False
        self._log = structlog.get_logger()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Watch until the block ends."""
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look_again())
            try:
                yield self
            finally:
                looking.cancel()

    async def _look_again(self) -> None:
        while True:
            try:
                await self._look()
            except Unavailable as fault:
                if not self._silent:
                    self._log.warning("certificates not looked at", reason=str(fault))
                self._silent = True
            except Exception:  # noqa: BLE001 - told with its traceback
                # The relay goes on with the certificates that it has, whatever is wrong with its eyes.
                self._log.exception("certificates not looked at")
            else:
                self._silent = False
            await asyncio.sleep(self._poll_seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - spreads load

    async def _look(self) -> None:
        places: Sequence[tuple[str, Secret]] = tuple(self._secrets.pairs.items())
        if self._secrets.authority:
            places = (*places, (_AUTHORITY, self._secrets.authority))
        for place, secret in places:
            version = await secret.version()
            before = self._seen.get(place)
            if version is None or version.id == before:
                continue
            self._seen[place] = version.id
            try:
                changed = await asyncio.to_thread(self._offer, place, version.text)
            except (BadCertificate, BadKey, BadAuthority) as fault:
                self._reloads.labels("refused").inc()
                self._log.error("certificate kept out", secret=secret.id, reason=str(fault))
                continue
            if changed:
                self._reloads.labels("accepted").inc()
            elif before:
                self._reloads.labels("unchanged").inc()
                self._log.info("certificate unchanged", secret=secret.id)

    def _offer(self, place: str, text: str) -> bool:
        """Have something taken up; tell whether it is new."""
        if place == _AUTHORITY:
            changed = self._certificates.trust(text.encode())
            if changed:
                self._log.info("client authority changed")
            return changed
        bundle = decode(text)
        offer = self._certificates.offer(place, bundle.material, bundle.names)
        if offer.changed:
            certificate = offer.certificate
            expires, names = certificate.expires_at.isoformat(), sorted(certificate.names)
            self._log.info("certificate changed", secret=self._secrets.pairs[place].id, names=names, expires=expires)
        if offer.lost:
            self._log.warning(
                "certificate no longer has names", secret=self._secrets.pairs[place].id, names=sorted(offer.lost)
            )
        return offer.changed
