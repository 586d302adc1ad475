"""What an operator is told to do about a check that failed, by the step at which it did."""

from collections.abc import Mapping
from typing import Final

from mail.delivery import Outcome
from worker.providers.trail import Stage

_BY_STAGE: Final[Mapping[str, str]] = {
    Stage.SECRET: "Its secret cannot be opened. See that the worker may use the KMS key, or give it its secret again.",
    Stage.SETTINGS: "Its settings cannot be used as they are. Change what is named, and test again.",
    Stage.RESOLVE: "The name of its host was not found. Check host, or endpoint, for a slip of the pen.",
    Stage.CONNECT: "Nothing answers there. Check host and port, and whether a firewall lets workers through.",
    Stage.GREETING: "What answers there does not welcome us. Check host and port, and whether it blocks our address.",
    Stage.TLS: "TLS failed. Check host and tls; for a certificate of an authority of your own, set ca.",
    Stage.SIGN_IN: "It does not know us. Check user name and secret; give the provider another secret if need be.",
    Stage.ACCOUNT: "It knows us and would not send for us. Do what it says, in its own console.",
}
_BY_OUTCOME: Final[Mapping[Outcome, str]] = {
    Outcome.PERMANENT: "The provider works, and refuses this recipient.",
    Outcome.TEMPORARY: "The provider works, and does not take mail for this recipient now. Try again later.",
    Outcome.MESSAGE_PERMANENT: "The provider refuses the test mail itself. Do what it says.",
    Outcome.THROTTLED: "The provider wants less mail from us now. Wait, and lower its rate if it says so often.",
    Outcome.PROVIDER_DOWN: "The provider is in trouble of its own. Try again later.",
    Outcome.MISCONFIGURED: "The provider does not send this for us. Do what it says: a sender, a domain, or an account "
    "is not in order.",
    Outcome.UNKNOWN: "The provider may have taken the mail. Look whether it came before testing again.",
}
_PASSED: Final = "Mail would go through."
_SENT: Final = "The provider has taken the mail."
# Not the fault of what the step is about.
_TROUBLE: Final = frozenset({Outcome.THROTTLED, Outcome.PROVIDER_DOWN})
# Before these, nobody has answered who could be in trouble.
_ANSWERED: Final = frozenset({Stage.GREETING, Stage.SIGN_IN, Stage.ACCOUNT, Stage.SEND})


def at_step(stage: str, outcome: Outcome) -> str:
    """Say what to do about a step that failed."""
    if outcome in _TROUBLE and stage in _ANSWERED:
        return _BY_OUTCOME[outcome]
    return _BY_STAGE.get(stage) or _BY_OUTCOME[outcome]


def where_it_may_not_be() -> str:
    """Say what to do about a host that workers may not connect to."""
    return (
        "It is in a network where providers may not be. Use another host, or name its network in the worker's settings."
    )


def of_mail(outcome: Outcome) -> str:
    """Say what the answer to a test mail means."""
    return _SENT if outcome is Outcome.ACCEPTED else _BY_OUTCOME[outcome]


def passed() -> str:
    """Say that a check without a mail found nothing wrong."""
    return _PASSED
