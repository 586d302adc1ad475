"""Where what was made is to be found."""

from urllib.parse import quote, urlencode

from starlette.responses import Response

from web.api.operations import ROOT


def locate(response: Response, collection: str, name: object, account: str | None = None) -> str:
    """Tell where what was made is (RFC 9110, 10.2.2), and give it.

    Args:
        response: that tells it.
        collection: the path of what it is one of, below the root.
        name: of what was made, within it.
        account: the one that was named to make it, and has to be named to reach it.
    """
    query = f"?{urlencode({'account': account})}" if account is not None else ""
    place = f"{ROOT}{collection}/{quote(str(name), safe='')}{query}"
    response.headers["Location"] = place
    return place
