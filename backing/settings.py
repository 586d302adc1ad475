"""The settings that more than one process reads, each with its meaning, default and limits.

A room adds its own in its `settings.py`. Values come from the environment and from a file that it names, the
environment first (CORE-OPS-002); secrets never do: they are named here and fetched at run time (ECS-010).
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Marks a setting that a running process takes anew on SIGHUP.
RELOADABLE: Final[JsonDict] = {"reloadable": True}

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Port = Annotated[int, Field(ge=0, le=65535)]
Network = IPv4Network | IPv6Network


def parse_networks(value: object) -> object:
    """Read networks as people write them, 10.0.0.0/8, fd00::/8: parted by commas or blanks; an address is one, too.

    Raises:
        ValueError: naming the one that is none.
    """
    return tuple(map(_network, value.replace(",", " ").split())) if isinstance(value, str) else value


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as fault:
        # Its own words for bits set to the right of the mask say what is wrong; the others only repeat the text.
        why = "has host bits set" if "host bits" in str(fault) else "is not a network such as 10.0.0.0/8 or fd00::/8"
        raise ValueError(f"{text[:60]!r} {why}") from None


# A tuple, since settings are frozen; NoDecode, since JSON is no way to write a list into an environment variable.
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(parse_networks)]


def parse_list(value: object) -> object:
    """Read texts parted by commas or blanks."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parse_list)]


class ConfigurationError(Exception):
    """The environment does not describe a process that could run; says each key, its value's fault and the limit."""


def without_password(url: str) -> str:
    """Refuse an address of a database that holds a password."""
    if _has_password(url):
        raise ValueError("must not hold a password; use a password file (PGPASSFILE) or DATABASE_IAM_AUTH=true")
    return url


def _cache_address(url: str) -> str:
    if _has_password(url):
        raise ValueError("must not hold a password; use CACHE_IAM_USER")
    parts = urlsplit(url)
    if url and (parts.scheme not in {"redis", "rediss"} or not parts.hostname):
        raise ValueError("must be redis://host:port, or rediss://host:port for TLS")
    return url


def _namespace(name: str) -> str:
    if name.startswith("AWS/"):
        raise ValueError("must not begin with AWS/, which AWS keeps for itself")
    return name


def _has_password(url: str) -> bool:
    return ":" in url.rpartition("@")[0].rpartition("/")[2]


class ProcessSettings(BaseSettings):
    """What every process of the product is told by its environment."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    settings_file: str = Field(
        default="", description="File of lines KEY=value with the same keys as the environment, which wins over it."
    )
    aws_region: str = Field(default="us-east-1", description="AWS region of the queue, bucket, keys and secrets.")
    log_level: LogLevel = Field(
        default="INFO", description="Least severe log line written.", json_schema_extra=RELOADABLE
    )


class Settings(ProcessSettings):
    """For processes that use the database."""

    database_url: Annotated[str, AfterValidator(without_password)] = Field(
        description="PostgreSQL address, postgresql://user@host:port/name, without a password."
    )
    database_iam_auth: bool = Field(
        default=False, description="Sign in to PostgreSQL with IAM tokens instead of a password file."
    )
    database_pool_min: int = Field(default=1, ge=0, le=100, description="Connections kept open at all times.")
    database_pool_max: int = Field(default=8, ge=1, le=100, description="Most connections of one process.")
    database_acquire_timeout_seconds: float = Field(
        default=5.0, gt=0, le=30, description="Longest wait for a free connection (CORE-DB-002, EC-2)."
    )
    database_slow_ms: int = Field(
        default=500,
        ge=0,
        le=30_000,
        description="Milliseconds from which on a statement is logged, by name, without values; 0 for none.",
    )
    database_max_lifetime_seconds: float = Field(
        default=1800.0, ge=60, description="Age at which a connection is replaced."
    )
    database_max_idle_seconds: float = Field(
        default=300.0, ge=10, description="Idle time after which a connection above the minimum is closed."
    )


class CacheAddress(ProcessSettings):
    """For processes that use the shared cache, and work without it."""

    cache_url: Annotated[str, AfterValidator(_cache_address)] = Field(
        default="", description="Valkey address, redis://host:port or rediss://host:port (TLS); empty for no cache."
    )
    cache_cluster: bool = Field(default=False, description="The cache is a cluster (ElastiCache, cluster mode).")
    cache_iam_user: str = Field(
        default="", description="Sign in to ElastiCache as this user, with IAM tokens; needs rediss and CACHE_NAME."
    )
    cache_name: str = Field(
        default="", description="Name of the ElastiCache replication group or serverless cache, for IAM tokens."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.cache_iam_user and not (self.cache_name and self.cache_url.startswith("rediss://")):
            raise ValueError("CACHE_IAM_USER needs CACHE_NAME, and a CACHE_URL with rediss://")
        return self


class CacheSettings(CacheAddress, Settings):
    """For processes that use the database and the cache."""


class MetricsSettings(ProcessSettings):
    """For processes that write metrics for CloudWatch."""

    metrics_namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        default="SmtpProxy",
        # CloudWatch, "Metrics concepts", Namespaces.
        pattern=r"^[A-Za-z0-9._/#-][A-Za-z0-9._/#: -]{0,254}$",
        description="CloudWatch namespace of the metrics (EMF); stacks of one account and region have one each.",
    )


class ServiceSettings(CacheSettings, MetricsSettings):
    """What a process that handles mail is told besides."""

    queue_url: str = Field(description="URL of the SQS queue that carries accepted messages to the worker.")
    body_bucket: str = Field(description="S3 bucket for bodies too large for the queue and for deferred mail.")
    health_host: str = Field(default="0.0.0.0", description="Address of the health and metrics endpoint.")  # noqa: S104 - a container listens on its own network interface
    health_port: Port = Field(default=8081, description="Port of the health and metrics endpoint.")
    metrics_emf_seconds: float = Field(
        default=0.0,
        ge=0,
        le=60,
        description="How often metrics are written to standard output for CloudWatch (EMF); 0 is never.",
    )


class CredentialKeySettings(Settings):
    """For processes that check or make SMTP credentials."""

    credential_key_secret: str = Field(
        default="smtp-proxy/credential-key",
        description="Secrets Manager id of the key (32 bytes or more) that SMTP credentials are checked with.",
    )


class ProviderKeySettings(Settings):
    """For processes that read or write the secrets of providers."""

    provider_key: str = Field(
        default="alias/smtp-proxy", description="KMS key that the secrets of providers are encrypted under."
    )


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class _Place(BaseSettings):
    """Where the file of settings is, as the environment says."""

    settings_file: str = ""


def read(settings: type[AnySettings]) -> AnySettings:
    """Build a process's settings from its environment and the file that `SETTINGS_FILE` names.

    Raises:
        ConfigurationError: with one line per wrong, missing or unknown variable; values are repeated only where they
            contradict each other.
    """
    place = _Place().settings_file
    arguments: dict[str, Any] = {}
    if place:
        _check_file(Path(place), settings)
        arguments = {"_env_file": place, "_env_file_encoding": "utf-8"}
    return checked(settings, **arguments)


def checked(settings: type[AnySettings], **values: Any) -> AnySettings:
    """Build settings of values, and of the environment where there is none.

    Raises:
        ConfigurationError: as `read`.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        raise ConfigurationError("\n".join(map(_complaint, error.errors(include_input=False)))) from None


def reloadable(settings: type[BaseSettings]) -> frozenset[str]:
    """Names of the settings that a running process takes anew."""
    return frozenset(name for name, field in settings.model_fields.items() if field.json_schema_extra == RELOADABLE)


def _check_file(file: Path, settings: type[BaseSettings]) -> None:
    """Find what a file of settings may not have; a key with a typing error would otherwise be ignored in silence."""
    known = settings.model_fields.keys() - {"settings_file"}
    complaints = []
    try:
        with file.open(encoding="utf-8") as lines:
            for binding in parse_stream(lines):
                where = f"{file}, line {binding.original.line}"
                if binding.error or (binding.key and binding.value is None):
                    complaints.append(f"{where}: not KEY=value")
                elif binding.key is not None and binding.key.lower() not in known:
                    complaints.append(f"{where}: unknown key {binding.key}")
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not UTF-8 text"
        raise ConfigurationError(f"SETTINGS_FILE: {file} cannot be read: {reason}") from None
    if complaints:
        raise ConfigurationError("\n".join(complaints))


def _complaint(error: Any) -> str:
    """One fault of one key; a fault between keys names them itself."""
    words = str(error["msg"])
    if not error["loc"]:
        return words.removeprefix("Value error, ")
    return f"{'.'.join(map(str, error['loc'])).upper()}: {words}"
