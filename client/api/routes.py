"""Where mail goes out: providers, and the rules that choose among them."""

from dataclasses import replace
from typing import Final

from client.api import values
from client.api.command import Command, Noun, Option, Place, Said, Shape, Table
from client.api.wording import ACCOUNT, IDEMPOTENCY_KEY, IF_MATCH, PAGES, every, field, pairs, secret, subject, switch

_KINDS: Final = ("smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox")
_PROVIDER: Final = subject("name", "of the provider")
_RULE: Final = subject("name", "of the rule, or its id")
_CONFIG: Final = pairs("--config", "config", "setting; null takes it away")
_LIMITS: Final = pairs("--limit", "limits", "limit, as in rate=14; null takes it away")
_DOMAINS: Final = every("--domain", "allowed_domains", "sender domain that it sends for", "DOMAIN")
_MATCH: Final = field("--match", "its conditions", values.document, "JSON")
_ACTION: Final = field("--action", "what it does", values.document, "JSON")
_PRIORITY: Final = field("--priority", "rules are asked from the lowest on", values.number, "N")
_ENABLED: Final = switch("--enabled", "enabled", "whether it is asked")

PROVIDERS: Final = Noun(
    "providers",
    "where mail goes out",
    (
        Command(
            verb="list",
            about="list the providers that an account may use, or without one, those that all share",
            method="GET",
            path="/providers",
            options=(ACCOUNT, *PAGES),
            shows=Table(("name", "account", "kind", "enabled", "secret", "allowed_domains", "version")),
            pages="cursor",
        ),
        Command(
            verb="show",
            about="show a provider",
            method="GET",
            path="/providers/{name}",
            options=(_PROVIDER, ACCOUNT),
        ),
        Command(
            verb="health",
            about="tell whether mail goes through a provider, how fast, and its quota",
            method="GET",
            path="/providers/{name}/health",
            options=(_PROVIDER, ACCOUNT),
        ),
        Command(
            verb="test",
            about="have a worker see whether mail would go through a provider, and wait for what it says",
            method="POST",
            path="/providers/{name}/tests",
            options=(
                _PROVIDER,
                ACCOUNT,
                Option("--to", Place.BODY, "to", about="send a small mail there; needs --from", metavar="ADDRESS"),
                Option("--from", Place.BODY, "from", about="its sender", metavar="ADDRESS"),
                Option("--no-wait", Place.NOWHERE, "no-wait", about="do not wait for the answer", metavar=None),
            ),
            shows=Shape.CHECK,
            whole=True,
            follows=True,
        ),
        Command(
            verb="test-result",
            about="show a test of a provider",
            method="GET",
            path="/providers/{name}/tests/{id}",
            options=(_PROVIDER, subject("id", "of the test"), ACCOUNT),
            shows=Shape.CHECK,
        ),
        Command(
            verb="secret",
            about="tell how a provider's secret is kept, and whether it is being sealed anew",
            method="GET",
            path="/providers/{name}/secret",
            options=(_PROVIDER, ACCOUNT),
        ),
        Command(
            verb="reseal",
            about="have a provider's secret sealed anew, by the KMS key that is configured now",
            method="POST",
            path="/providers/{name}/secret/reseal",
            options=(_PROVIDER, ACCOUNT),
        ),
        Command(
            verb="reseal-all",
            about="have the secrets of an account's providers sealed anew, or without one, of all",
            method="POST",
            path="/providers/reseal",
            options=(ACCOUNT,),
            shows=Said("{count} secrets are to be sealed anew"),
        ),
        Command(
            verb="create",
            about="make a provider; without --account, for all to share",
            method="POST",
            path="/providers",
            options=(
                Option("name", Place.BODY, "name", about="of the provider"),
                ACCOUNT,
                replace(field("--kind", "of what kind it is"), choices=_KINDS),
                _CONFIG,
                secret("secret"),
                _LIMITS,
                _DOMAINS,
                IDEMPOTENCY_KEY,
            ),
            whole=True,
        ),
        Command(
            verb="change",
            about="change a provider; what is not named stays",
            method="PATCH",
            path="/providers/{name}",
            options=(
                _PROVIDER,
                ACCOUNT,
                _CONFIG,
                _LIMITS,
                _DOMAINS,
                Option(
                    "--any-domain",
                    Place.BODY,
                    "allowed_domains",
                    about="it sends for every domain",
                    metavar=None,
                    const=None,
                ),
                IF_MATCH,
            ),
            whole=True,
        ),
        Command(
            verb="set-secret",
            about="give a provider another secret, or none",
            method="PUT",
            path="/providers/{name}/secret",
            options=(
                _PROVIDER,
                ACCOUNT,
                secret("secret"),
                Option("--no-secret", Place.BODY, "secret", about="it has none", metavar=None, const=None),
                IF_MATCH,
            ),
            whole=True,
            shows=Said("the secret of {name} is changed"),
        ),
        *(
            Command(
                verb=verb,
                about=about,
                method="POST",
                path=f"/providers/{{name}}/{verb}",
                options=(_PROVIDER, ACCOUNT, IF_MATCH),
            )
            for verb, about in (("enable", "let it be used"), ("disable", "let it be used no more"))
        ),
        Command(
            verb="delete",
            about="delete a provider that nothing needs",
            method="DELETE",
            path="/providers/{name}",
            options=(_PROVIDER, ACCOUNT, IF_MATCH),
            shows=Said("{name} is deleted"),
        ),
    ),
)

RULES: Final = Noun(
    "rules",
    "which mail goes where",
    (
        Command(
            verb="list",
            about="list the rules of an account in the order in which they are asked",
            method="GET",
            path="/rules",
            options=(ACCOUNT, *PAGES),
            shows=Table(("priority", "name", "enabled", "match", "action", "version")),
            pages="cursor",
        ),
        Command(verb="show", about="show a rule", method="GET", path="/rules/{name}", options=(_RULE, ACCOUNT)),
        Command(
            verb="create",
            about="make a rule",
            method="POST",
            path="/rules",
            options=(
                Option("name", Place.BODY, "name", about="of the rule"),
                ACCOUNT,
                _PRIORITY,
                _ENABLED,
                _MATCH,
                _ACTION,
                IDEMPOTENCY_KEY,
            ),
            whole=True,
        ),
        Command(
            verb="change",
            about="change a rule; what is not named stays",
            method="PATCH",
            path="/rules/{name}",
            options=(
                _RULE,
                ACCOUNT,
                Option("--name", Place.BODY, "name", about="its new name", metavar="NAME"),
                _PRIORITY,
                _ENABLED,
                _MATCH,
                _ACTION,
                IF_MATCH,
            ),
            whole=True,
        ),
        Command(
            verb="delete",
            about="delete a rule",
            method="DELETE",
            path="/rules/{name}",
            options=(_RULE, ACCOUNT, IF_MATCH),
            shows=Said("{name} is deleted"),
        ),
        Command(
            verb="simulate",
            about="tell what would be done with a message, and why; nothing is",
            method="POST",
            path="/rules/simulate",
            options=(
                ACCOUNT,
                every("--to", "recipients", "recipient", "ADDRESS"),
                Option("--from", Place.BODY, "mail_from", about="reverse path", metavar="ADDRESS"),
                field("--size", "of the message", values.number, "OCTETS"),
                field("--stream", "that it is of", metavar="NAME"),
                every("--tag", "tags", "that it has", "NAME"),
                Option(
                    "--header",
                    Place.BODY,
                    "headers",
                    about="that it has; repeatable",
                    read=values.header,
                    many=True,
                    metavar="'NAME: VALUE'",
                ),
            ),
            whole=True,
            shows=Shape.TRACES,
        ),
    ),
)
