"""A certificate with its key as one text, so that both change at once wherever it is kept (TLS-017)."""

import json
from dataclasses import dataclass
from typing import Any, Final

from backing.certificates.material import BadCertificate, Material

# Where a certificate is from that no ACME server issued to us.
IMPORTED: Final = "import"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is kept of a certificate.

    Attributes:
        names: host names that it was made for; it has to have them all.
        source: URL of the directory of the ACME server that issued it, or IMPORTED.
    """

    material: Material
    names: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store has.

    Attributes:
        content: a bundle; or why what is there is none.
        version: of the secret; None where a store has no versions.
    """

    content: Bundle | str
    version: str | None = None


def encode(bundle: Bundle) -> str:
    """Write a bundle as JSON."""
    material = bundle.material
    return json.dumps(
        {
            "certificate": material.chain.decode("ascii"),
            "key": material.key.decode("ascii"),
            "names": list(bundle.names),
            "source": bundle.source,
        }
    )


def decode(text: str) -> Bundle:
    """Read a bundle; `names` and `source` may be left out by who writes one by hand.

    Raises:
        BadCertificate: it is no such text; what is in it is never repeated.
    """
    try:
        document: Any = json.loads(text)
        chain, key = document["certificate"].encode("ascii"), document["key"].encode("ascii")
        names, source = tuple(map(str, document.get("names", ()))), str(document.get("source", IMPORTED))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise BadCertificate("is no JSON object with PEM texts `certificate` and `key`") from None
    return Bundle(Material(chain, key), names, source)
