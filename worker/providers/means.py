"""What the providers of one worker share."""

from dataclasses import dataclass

import aiohttp

from backing.aws import Aws


@dataclass(frozen=True, slots=True)
class Means:
    """What a provider may be built with beside its row.

    Attributes:
        aws: the worker's own credentials.
        http: carries requests; closed by its owner, after the providers.
    """

    aws: Aws
    http: aiohttp.ClientSession
