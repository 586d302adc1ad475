"""Certificates as files: where they are, what is in them, and the folders to watch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from backing.certificates.material import BadCertificate, BadKey, Material
from backing.settings import ConfigurationError
from relay.certificates.tls import BadAuthority, Certificates, Clients
from relay.settings import RelaySettings

# Longer than any chain; what is larger is no certificate.
_MAX_FILE: Final = 1_048_576
# As many links as Linux follows.
_MAX_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where certificates are.

    Attributes:
        certificate: PEM, the chain that serves unknown names; None where certificates are in secrets.
        key: PEM, its key.
        folder: pairs NAME.pem and NAME.key, each served to the names in its certificate.
        authority: PEM, what clients' certificates are checked against.
    """

    certificate: Path | None
    key: Path | None
    folder: Path | None = None
    authority: Path | None = None

    @classmethod
    def of(cls, settings: RelaySettings) -> Self:
        """Take them from the settings."""
        authority = _path(settings.relay_client_ca_file)
        if settings.relay_certificate_secrets:
            return cls(None, None, None, authority)
        return cls(
            _path(settings.relay_certificate_file),
            _path(settings.relay_private_key_file),
            _path(settings.relay_certificate_folder),
            authority,
        )

    def __bool__(self) -> bool:
        return bool(self.certificate or self.authority)

    def pairs(self) -> dict[str, tuple[Path, Path]]:
        """Give certificate and key of each name; one of them may be missing. Raises OSError where the folder is."""
        if self.folder is None:
            return {}
        stems = {path.stem for path in self.folder.iterdir() if path.suffix in {".pem", ".key"} and path.stem[0] != "."}
        return {stem: (self.folder / f"{stem}.pem", self.folder / f"{stem}.key") for stem in sorted(stems)}

    def paths(self) -> Iterator[Path]:
        """All files and folders that matter."""
        yield from filter(None, (self.certificate, self.key, self.authority))
        if self.folder:
            yield self.folder / "any"
            try:
                pairs = self.pairs()
            except OSError:
                return
            for pair in pairs.values():
                yield from pair


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def read_authority(settings: RelaySettings) -> bytes:
    """Read the authority of clients' certificates; empty where there is no file of it.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    file = settings.relay_client_ca_file
    return _required("RELAY_CLIENT_CA_FILE", Path(file)) if file else b""


def clients_of(settings: RelaySettings, authority: bytes) -> Clients:
    """Whose certificates clients may show, as the settings say."""
    return Clients(settings.relay_starttls_client_certificates, settings.relay_tls_client_certificates, authority)


def read_certificates(settings: RelaySettings) -> Certificates:
    """Read what the relay begins with. A bad pair in the folder is left to the watch, which says what is wrong with it.

    Raises:
        ConfigurationError: the certificate that serves unknown names, or the clients' authority, cannot be used.
    """
    files = CertificateFiles.of(settings)
    fallback = Material(
        _required("RELAY_CERTIFICATE_FILE", Path(settings.relay_certificate_file)),
        _required("RELAY_PRIVATE_KEY_FILE", Path(settings.relay_private_key_file)),
    )
    clients = clients_of(settings, read_authority(settings))
    try:
        certificates = Certificates(fallback, clients)
        pairs = files.pairs()
    except BadCertificate as fault:
        raise ConfigurationError(f"RELAY_CERTIFICATE_FILE: {files.certificate} {fault}") from None
    except BadKey as fault:
        raise ConfigurationError(f"RELAY_PRIVATE_KEY_FILE: {files.key} {fault}") from None
    except BadAuthority as fault:
        raise ConfigurationError(f"RELAY_CLIENT_CA_FILE: {files.authority} {fault}") from None
    except OSError as error:
        raise ConfigurationError(f"RELAY_CERTIFICATE_FOLDER: {files.folder} cannot be read: {error.strerror}") from None
    for place, pair in pairs.items():
        if isinstance(found := read_pair(*pair), Material):
            try:
                certificates.offer(place, found)
            except (BadCertificate, BadKey):
                continue
    return certificates


def _required(setting: str, path: Path) -> bytes:
    found = read(path)
    if isinstance(found, str):
        raise ConfigurationError(f"{setting}: {found}")
    return found


def read(path: Path) -> bytes | str:
    """Give what is in a file, or why it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return content if len(content) <= _MAX_FILE else f"{path} is too large"


def read_pair(certificate: Path, key: Path) -> Material | str:
    """Give a certificate with its key, or why one of them cannot be read."""
    chain, private = read(certificate), read(key)
    if isinstance(chain, str):
        return chain
    return private if isinstance(private, str) else Material(chain, private)


def stamp(*paths: Path) -> object:
    """Give what changes when somebody writes to one of the files, be it the same content."""
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> tuple[int, ...]:
    try:
        state = path.stat()
    except OSError:
        return ()
    return (state.st_dev, state.st_ino, state.st_mtime_ns)


def folders(files: CertificateFiles) -> dict[Path, tuple[int, int]]:
    """Give the folders in which a change means another content, links followed; each with what tells it from a new one.

    Kubernetes and ACME clients replace a link, in the folder or above it.
    """
    found: dict[Path, tuple[int, int]] = {}
    for path in files.paths():
        for folder in _ways(path.absolute()):
            state = _state(folder)
            if state:
                found[folder] = (state[0], state[1])
    return found


def _ways(path: Path, depth: int = 0) -> Iterator[Path]:
    """Give the folders of all links on the way to a file, and the one that it is in at last."""
    for place in reversed((path, *path.parents)):
        if not place.is_symlink():
            continue
        yield place.parent
        if depth < _MAX_LINKS:
            target = place.parent / place.readlink()
            yield from _ways(target / path.relative_to(place), depth + 1)
        return
    yield path.parent
