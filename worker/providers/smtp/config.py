"""How an account configures an SMTP server as its provider."""

import ssl
from typing import Literal

from pydantic import Field

from worker.providers.base import BadConfig, Setup
from worker.providers.config import LOOPBACK, ProviderConfig, read_config
from worker.providers.secret import read_secret
from worker.providers.signing import DkimConfig


class SmtpConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    host: str = Field(min_length=1, max_length=255, description="Name or address of the server.")
    port: int = Field(default=587, ge=1, le=65535, description="TCP port.")
    tls: Literal["none", "starttls", "implicit", "opportunistic"] = Field(
        default="starttls", description="How the connection is secured."
    )
    username: str | None = Field(
        default=None, repr=False, description="Whom to sign in as, with the secret as password."
    )
    ca: str | None = Field(default=None, description="PEM of the only authorities to trust.")
    pin: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the peer's SPKI, as 64 small hex digits."
    )
    hello: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$", description="Our name in EHLO; the machine's by default."
    )
    timeout: float = Field(default=60.0, gt=0, le=300, description="Seconds for one reply.")
    max_connections: int = Field(default=20, ge=1, le=1000, description="Connections of one worker at a time.")
    max_idle_seconds: float = Field(
        default=30.0, gt=0, le=300, description="Age at which a connection that nobody uses is closed."
    )
    max_messages: int = Field(default=100, ge=1, le=10_000, description="Messages that one connection carries.")
    dkim: DkimConfig | None = Field(default=None, description="How messages are signed.")


def read(setup: Setup) -> SmtpConfig:
    """Read the configuration of a provider.

    Raises:
        BadConfig: it contradicts itself or lacks something.
    """
    config = read_config(SmtpConfig, setup)
    password = read_secret(setup).login
    if config.username and not password:
        raise BadConfig("username: it needs a password, and none is stored")
    if "\0" in f"{config.username}{password}":
        raise BadConfig("username: neither it nor the password can have a NUL, which AUTH keeps them apart by")
    if config.username and config.tls in {"none", "opportunistic"} and config.host not in LOOPBACK:
        raise BadConfig(f"tls: {config.tls} would show the password; use starttls or implicit")
    if config.pin and config.tls not in {"starttls", "implicit"}:
        raise BadConfig("pin: it needs tls starttls or implicit")
    return config


def tls_context(config: SmtpConfig) -> ssl.SSLContext:
    """What TLS verifies the peer with.

    Raises:
        BadConfig: its authorities cannot be read.
    """
    try:
        context = ssl.create_default_context(cadata=config.ca)
    except ssl.SSLError as error:
        raise BadConfig(f"ca: {error}") from None
    if config.tls == "opportunistic":
        # RFC 7435: unauthenticated encryption is better than none, which is what this mode falls back to.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
