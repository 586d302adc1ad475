"""The settings that more than one process reads, each with its meaning, default and limits.

A room adds its own in its `settings.py`. Values come from the environment; secrets never do: they are named here and
fetched at run time (ECS-010).
"""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Port = Annotated[int, Field(ge=0, le=65535)]


class ConfigurationError(Exception):
    """The environment does not describe a process that could run; says each key, its value's fault and the limit."""


def _without_password(url: str) -> str:
    user_info = url.rpartition("@")[0].rpartition("/")[2]
    if ":" in user_info:
        raise ValueError("must not hold a password; use a password file (PGPASSFILE) or DATABASE_IAM_AUTH=true")
    return url


class Settings(BaseSettings):
    """What every process of the product is told by its environment."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    aws_region: str = Field(default="us-east-1", description="AWS region of the queue, bucket, keys and secrets.")
    database_url: Annotated[str, AfterValidator(_without_password)] = Field(
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
    database_max_lifetime_seconds: float = Field(
        default=1800.0, ge=60, description="Age at which a connection is replaced."
    )
    database_max_idle_seconds: float = Field(
        default=300.0, ge=10, description="Idle time after which a connection above the minimum is closed."
    )
    log_level: LogLevel = Field(default="INFO", description="Least severe log line written.")


class ServiceSettings(Settings):
    """What a process that handles mail is told besides."""

    queue_url: str = Field(description="URL of the SQS queue that carries accepted messages to the worker.")
    body_bucket: str = Field(description="S3 bucket for bodies too large for the queue and for deferred mail.")
    health_host: str = Field(default="0.0.0.0", description="Address of the health and metrics endpoint.")  # noqa: S104 - a container listens on its own network interface
    health_port: Port = Field(default=8081, description="Port of the health and metrics endpoint.")


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


def read(settings: type[AnySettings]) -> AnySettings:
    """Build a process's settings from its environment.

    Raises:
        ConfigurationError: with one line per wrong or missing variable; values are not repeated.
    """
    try:
        return settings()
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False)]
        raise ConfigurationError("\n".join(lines)) from None
