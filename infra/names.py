"""Names that fit: Pulumi makes a physical name of a logical one by adding "-" and seven hexadecimal digits."""

import hashlib

ALIAS_LIMIT = 256
BUCKET_LIMIT = 63
QUEUE_LIMIT = 80
PULUMI_SUFFIX = 8
_DIGEST = 6


def fit(name: str, limit: int) -> str:
    """Returns the name, cut and marked with a digest of the whole where AWS's limit leaves no room for the suffix."""
    room = limit - PULUMI_SUFFIX
    if len(name) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: room - _DIGEST - 1].rstrip('-')}-{digest}"
