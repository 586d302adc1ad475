"""`--to-secret`: what was made goes to Secrets Manager instead of the screen, and so not into a task's log."""

import argparse
import json
import re
from collections.abc import Awaitable, Callable
from typing import Final

from backing.aws import Aws
from backing.commands.office import AdminSettings
from backing.secrets import make_secret, put_secret
from mail.errors import Unavailable

# Secrets Manager, CreateSecret: letters, digits and these.
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@-]{1,256}")
_SHOWN: Final = ("account", "username", "prefix")


def argument(parser: "argparse._ActionsContainer") -> None:
    """Say what the option takes."""
    parser.add_argument(
        "--to-secret",
        type=_name,
        metavar="NAME",
        help="put it into this secret of Secrets Manager and do not show it; ISSUED_SECRET_PREFIX goes before the name",
    )


async def kept(settings: AdminSettings, asked: argparse.Namespace, make: Callable[[], Awaitable[str]]) -> str:
    """Have something made, and put what the command would print as JSON into the secret that was asked for.

    The secret is made first, so that nothing is made that cannot be kept.

    Raises:
        BadSecret: there can be no secret of this name.
        Unavailable: Secrets Manager did not take it; says what was made meanwhile.
    """
    name, as_json = settings.issued_secret_prefix + asked.to_secret, asked.json
    asked.json = True
    async with Aws(settings.aws_region).secrets() as client:
        await make_secret(client, name, settings.issued_secret_key)
        made = json.loads(await make())
        shown = {fact: made[fact] for fact in _SHOWN if fact in made}
        try:
            await put_secret(client, name, json.dumps(made))
        except Unavailable as fault:
            facts = ", ".join(f"{fact} {value}" for fact, value in shown.items())
            raise Unavailable(f"{fault}; {facts} was made, and nobody has its secret: revoke it") from fault
    if as_json:
        return json.dumps({**shown, "kept_in": name})
    lines = [f"{fact.capitalize():<9} {value}" for fact, value in shown.items()]
    return "\n".join([*lines, f"Its secret is in {name} of Secrets Manager, and is not shown."])


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a secret; expected letters, digits and / _ + = . @ -")
    return text
