"""Names that fit: Pulumi makes a physical name of a logical one by adding "-" and seven hexadecimal digits."""

import hashlib

ALIAS_LIMIT = 256
BALANCER_LIMIT = 32
BUCKET_LIMIT = 63
CACHE_LIMIT = 40
CACHE_USER_LIMIT = 40
CONFIGURATION_SET_LIMIT = 64
DATABASE_LIMIT = 63
EVENT_RULE_LIMIT = 64
QUEUE_LIMIT = 80
RECEIPT_RULE_LIMIT = 64
REPOSITORY_LIMIT = 256
ROLE_LIMIT = 64
SCHEDULE_LIMIT = 64
TOPIC_LIMIT = 256
PULUMI_SUFFIX = 8
_DIGEST = 6


def fit(name: str, limit: int) -> str:
    """Returns the name, cut and marked with a digest of the whole where AWS's limit leaves no room for the suffix."""
    return exact(name, limit - PULUMI_SUFFIX)


def fit_role(name: str, role: str, limit: int) -> str:
    """Returns name and role, where only the name may be cut: the role is what tells siblings apart."""
    return f"{fit(name, limit - len(role) - 1)}-{role}"


def exact(name: str, room: int) -> str:
    """Returns the name, cut and marked as by `fit`, for a physical name that is given and gets no suffix."""
    if len(name) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: room - _DIGEST - 1].rstrip('-')}-{digest}"
