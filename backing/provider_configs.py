"""What `provider.config` may hold, by the kind of the provider: read by workers, checked where it is written.

What needs the secret, or a look at a key, is a worker's to find out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from yarl import URL

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
SIGNING_KEY_NAME: Final = "dkim_key[a-z0-9_]{0,50}"
SES_MAX_RECIPIENTS: Final = 50
# Where these kinds relay to in mode smtp; `smtp` of their configurations changes it.
SENDGRID_SMTP: Final = {"host": "smtp.sendgrid.net", "port": 587, "tls": "starttls", "username": "apikey"}
POSTMARK_SMTP: Final = {"host": "smtp.postmarkapp.com", "port": 587, "tls": "starttls"}
# What the sandbox can be asked for; see there.
FATES: Final = ("bounce", "defer", "reject", "throttle", "quota", "down", "config", "unknown", "hang")
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*|::1")
_Chance = Annotated[float, Field(ge=0, le=1)]
_FieldName = Annotated[str, Field(pattern="^[!-9;-~]{1,100}$"), AfterValidator(str.lower)]


class ProviderConfig(BaseModel):
    """What `provider.config` may hold; unknown keys are refused, and no error shows a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("must be a URL") from None
    if not _HOST.fullmatch(url.host or ""):
        raise ValueError("must be a URL with the name of a host")
    if url.scheme != "https" and not (url.scheme == "http" and url.host in LOOPBACK):
        raise ValueError("must begin with https://, since requests carry a secret")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ValueError("must be a URL without user, query and fragment")
    return text.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_checked)]


class DkimConfig(ProviderConfig):
    """What `dkim` in `provider.config` holds."""

    domain: str = Field(max_length=255, description="Domain that signs mail from it and from domains below it.")
    selector: str = Field(max_length=255, description="Where below `_domainkey` of the domain the public key is.")
    key: str = Field(
        default="dkim_key", pattern=f"^{SIGNING_KEY_NAME}$", description="Name of the private key in the secret."
    )
    leave_out: frozenset[_FieldName] = Field(
        default=frozenset(), description="Header fields not to sign, since the provider rewrites them."
    )


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


class SesConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    region: str | None = Field(
        default=None, pattern="^[a-z]{2}(-[a-z]+)+-[0-9]$", description="AWS region; the worker's own by default."
    )
    configuration_set: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_-]{1,64}$",
        description="Configuration set of SES, which publishes the events.",
    )
    feedback_address: str | None = Field(
        default=None, max_length=320, description="Where SES forwards bounces and complaints by mail."
    )
    tenant: str | None = Field(default=None, pattern="^[A-Za-z0-9_-]{1,64}$", description="Tenant of SES to send for.")
    max_recipients: int = Field(
        default=1, ge=1, le=SES_MAX_RECIPIENTS, description="Recipients per call; with one, events name each of them."
    )
    endpoint: Endpoint | None = Field(default=None, description="URL of another endpoint than that of the region.")
    dkim: DkimConfig | None = Field(default=None, description="How messages are signed.")


class MailgunConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    domain: str = Field(
        pattern="^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", description="Sending domain, as Mailgun knows it."
    )
    region: Literal["us", "eu"] = Field(default="us", description="Where the domain is kept.")
    tag: str | None = Field(default=None, pattern="^[!-~]{1,128}$", description="Tag for Mailgun's statistics.")
    test_mode: bool = Field(default=False, description="Mailgun takes the mail and delivers none of it.")
    endpoint: Endpoint | None = Field(default=None, description="URL of another endpoint than that of the region.")
    dkim: DkimConfig | None = Field(default=None, description="How messages are signed.")


class SendGridConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    mode: Literal["smtp", "api"] = Field(
        default="smtp", description="By SMTP, octet for octet, or in the JSON of the API, which rebuilds the message."
    )
    smtp: dict[str, Any] = Field(default_factory=dict, description="Changes to the settings of kind smtp.")
    correlate: bool = Field(
        default=False, description="In mode smtp, put X-SMTPAPI before the message, so that events name it."
    )
    endpoint: Endpoint = Field(default="https://api.sendgrid.com", description="URL of the API, for mode api.")
    dkim: DkimConfig | None = Field(default=None, description="In mode smtp, how messages are signed.")


class PostmarkConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    mode: Literal["smtp", "api"] = Field(
        default="smtp", description="By SMTP, octet for octet, or in the JSON of the API, which rebuilds the message."
    )
    stream: str | None = Field(default=None, pattern="^[a-z0-9-]{1,30}$", description="Message stream to send in.")
    username: str | None = Field(
        default=None, description="Access key of an SMTP token in mode smtp; by default the server token is both."
    )
    smtp: dict[str, Any] = Field(default_factory=dict, description="Changes to the settings of kind smtp.")
    correlate: bool = Field(
        default=False, description="In mode smtp, put X-PM-Metadata before the message, so that events name it."
    )
    endpoint: Endpoint = Field(default="https://api.postmarkapp.com", description="URL of the API, for mode api.")
    dkim: DkimConfig | None = Field(default=None, description="In mode smtp, how messages are signed.")


class SandboxConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    delay: float = Field(default=0.0, ge=0, le=300, description="Seconds that every attempt takes.")
    chances: dict[str, _Chance] = Field(
        default_factory=dict, description="How probable each magic name is for other recipients, 0 to 1."
    )
    seed: int | None = Field(default=None, description="Repeats the same chances in the same order.")
    remember: int = Field(
        default=0, ge=0, le=1_000_000, description="Keys remembered: mail repeated under one counts as taken. 0: none."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if strange := sorted(self.chances.keys() - set(FATES)):
            raise ValueError(f"chances: {', '.join(strange)} is none of {', '.join(FATES)}")
        if sum(self.chances.values()) > 1:
            raise ValueError("chances: together they are more than 1")
        return self


CONFIGS: Final[Mapping[str, type[ProviderConfig]]] = {
    "smtp": SmtpConfig,
    "ses": SesConfig,
    "mailgun": MailgunConfig,
    "sendgrid": SendGridConfig,
    "postmark": PostmarkConfig,
    "sandbox": SandboxConfig,
}
_Config = TypeVar("_Config", bound=ProviderConfig)


class BadConfig(Exception):  # noqa: N818 - a fact about a configuration
    """A provider's configuration cannot be used; says which value and why, never a secret."""


def parsed(model: type[_Config], config: Mapping[str, Any], within: str = "") -> _Config:
    """Read a configuration as its kind wants it.

    Args:
        model: what it wants.
        config: what is written.
        within: the key that it stands under, with a dot.

    Raises:
        BadConfig: naming each key that is wrong, and how.
    """
    try:
        return model.model_validate(config)
    except ValidationError as error:
        lines = (_words(each, model, within) for each in error.errors(include_input=False, include_url=False))
        raise BadConfig("; ".join(lines)) from None


def contradictions(config: SmtpConfig) -> Iterator[str]:
    """Say what in the configuration of an SMTP server does not go together."""
    if config.username and config.tls in {"none", "opportunistic"} and config.host not in LOOPBACK:
        yield f"tls: {config.tls} would show the password; use starttls or implicit"
    if config.pin and config.tls not in {"starttls", "implicit"}:
        yield "pin: it needs tls starttls or implicit"


def check(kind: str, config: Mapping[str, Any]) -> None:
    """Look at the configuration of a kind as a whole.

    Raises:
        BadConfig: a worker could not use it; says which keys and why.
    """
    found = parsed(CONFIGS[kind], config)
    if isinstance(found, SmtpConfig):
        _agree(found, "")
    elif isinstance(found, SendGridConfig):
        _check_relay(found.mode, found.dkim, SENDGRID_SMTP | found.smtp)
    elif isinstance(found, PostmarkConfig):
        # The server token, if no other name is given.
        _check_relay(found.mode, found.dkim, POSTMARK_SMTP | {"username": found.username or "token"} | found.smtp)


def refuse_signing(dkim: DkimConfig | None) -> None:
    """Refuse to sign what does not go to the provider as it is.

    Raises:
        BadConfig: signatures are asked for.
    """
    if dkim is not None:
        raise BadConfig("dkim: in mode api the provider writes the message itself, so it must sign it; use mode smtp")


def refuse_inner_signing(smtp: Mapping[str, Any]) -> None:
    """Refuse signatures in the settings of a relay, which have them beside it; raises `BadConfig`."""
    if "dkim" in smtp:
        raise BadConfig("smtp.dkim: dkim stands beside smtp, not in it")


def _check_relay(mode: str, dkim: DkimConfig | None, smtp: Mapping[str, Any]) -> None:
    if mode == "api":
        refuse_signing(dkim)
    refuse_inner_signing(smtp)
    _agree(parsed(SmtpConfig, smtp, "smtp."), "smtp.")


def _agree(config: SmtpConfig, within: str) -> None:
    if complaints := [f"{within}{each}" for each in contradictions(config)]:
        raise BadConfig("; ".join(complaints))


def _words(error: Mapping[str, Any], model: type[BaseModel], within: str) -> str:
    key = within + ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        words = error["msg"].removeprefix("Value error, ")
        return f"{key}: {words}" if error["loc"] else words
    for name in error["loc"][:-1]:
        inner = model.model_fields[str(name)].annotation
        model = next(each for each in (*getattr(inner, "__args__", ()), inner) if _is_model(each))
    return f"{key}: there is no such key; there are: {', '.join(model.model_fields)}"


def _is_model(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
