"""How an account configures an SMTP server as its provider."""

import ssl

from backing.provider_configs import BadConfig, SmtpConfig, contradictions
from worker.providers.base import Setup
from worker.providers.config import read_config
from worker.providers.secret import read_secret


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
    for complaint in contradictions(config):
        raise BadConfig(complaint)
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
