"""What can go wrong, by whose turn it is to act; each class is one exit code."""

from typing import ClassVar


class ApiError(Exception):
    """A failure told in plain words."""

    exit_code: ClassVar[int]


class RefusedError(ApiError):
    """The API does not do what was asked for."""

    exit_code = 1


class UsageError(ApiError):
    """The command line, or a file it names, asks for something that cannot be done."""

    exit_code = 2


class UnreachableError(ApiError):
    """There is no answer, or what the API leans on does not answer (EX_UNAVAILABLE)."""

    exit_code = 69


class KeyRefusedError(ApiError):
    """The key is unknown, revoked or expired, or may not do this (EX_NOPERM)."""

    exit_code = 77
