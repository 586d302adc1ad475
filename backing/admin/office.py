"""All that can be changed, put together over one desk: the operator's command and the HTTP API work with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from backing.admin.accounts import Accounts
from backing.admin.audit import Audit
from backing.admin.credentials import Credentials
from backing.admin.desk import Desk
from backing.admin.inquiries import Inquiries
from backing.admin.keys import ApiKeys
from backing.admin.messages import Messages
from backing.admin.providers import Providers
from backing.admin.repeats import Repeats
from backing.admin.rules import Rules
from backing.admin.suppressions import SuppressionLists
from backing.admin.webhooks import Webhooks
from backing.secrets import Vault
from mail.accounts import Network


@dataclass(frozen=True, slots=True)
class Tools:
    """What changes need beside a database.

    Attributes:
        vault: seals secrets.
        credential_key: what SMTP credentials are checked with.
        networks: that webhooks may be posted to beside the public internet.
        provider_networks: that providers may be in beside it.
    """

    vault: Vault
    credential_key: bytes = field(repr=False)
    networks: Sequence[Network] = ()
    provider_networks: Sequence[Network] = ()


@dataclass(frozen=True, slots=True)
class Office:
    """All that can be changed."""

    accounts: Accounts
    credentials: Credentials
    providers: Providers
    inquiries: Inquiries
    rules: Rules
    suppressions: SuppressionLists
    messages: Messages
    webhooks: Webhooks
    keys: ApiKeys
    audit: Audit
    repeats: Repeats

    @classmethod
    def at(cls, desk: Desk, tools: Tools) -> "Office":
        """Put it together."""
        credentials = Credentials(desk, tools.credential_key)
        return cls(
            accounts=Accounts(desk, tools.vault, credentials, tools.provider_networks),
            credentials=credentials,
            providers=Providers(desk, tools.vault, tools.provider_networks),
            inquiries=Inquiries(desk),
            rules=Rules(desk),
            suppressions=SuppressionLists(desk),
            messages=Messages(desk),
            webhooks=Webhooks(desk, tools.vault, tools.networks),
            keys=ApiKeys(desk),
            audit=Audit(desk),
            repeats=Repeats(desk),
        )
