"""Images: where they are kept, and how they get there."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
import pulumi_aws as aws
import pulumi_docker_build as docker
from pulumi import Input, Output, ResourceOptions

from infra import names
from infra.project import ROOT
from infra.settings import Architecture

_PLATFORMS: Final[Mapping[Architecture, docker.Platform]] = {
    "arm64": docker.Platform.LINUX_ARM64,
    "x86_64": docker.Platform.LINUX_AMD64,
}
# What every image is made from beside the room itself; the same as in .dockerignore.
_SHARED: Final = ("Dockerfile", "pyproject.toml", "uv.lock", "mail", "backing")
_OF_NO_MATTER: Final = ("__pycache__",)
_TAG: Final = "code-"
_CACHE: Final = "cache-"
KEPT_UNTAGGED: Final = 10
KEPT_IMAGES: Final = 30
_ECR: Final = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^@:]+)[@:]")


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """Which images there are, and which of them exist already."""

    rooms: Sequence[str]
    prebuilt: Mapping[str, str]
    """By room, with its digest; those are not built."""
    architecture: Architecture
    force_delete: bool
    """A repository that still has images may be deleted."""
    key_arn: Input[str] | None = None
    context: Path = ROOT


class Images(pulumi.ComponentResource):
    """Declares a repository for each room, and builds and pushes the images that are not prebuilt.

    A room with a prebuilt image has a repository all the same: it may have come from there, and earlier images in it
    are what a rollback needs. Docker is asked by `pulumi up` only, never by a preview. It signs in to ECR with what it
    has been given before, so no password passes through Pulumi:
    `aws ecr get-login-password | docker login --username AWS --password-stdin ACCOUNT.dkr.ecr.REGION.amazonaws.com`
    """

    repository_arns: list[Output[str]]
    repository_urls: Mapping[str, Output[str]]

    def __init__(self, name: str, args: ImagesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:registry:Images", name, None, opts)
        self._child = ResourceOptions(parent=self)

        repositories = {room: self._repository(f"{name}-{room}", args) for room in args.rooms}
        self._references = {
            room: Output.from_input(args.prebuilt[room])
            if room in args.prebuilt
            else self._built(f"{name}-{room}", room, repository, args)
            for room, repository in repositories.items()
        }

        self.repository_urls = {room: repository.repository_url for room, repository in repositories.items()}
        self.repository_arns = [
            *(repository.arn for repository in repositories.values()),
            *(Output.from_input(arn) for arn in sorted(foreign_repositories(args.prebuilt.values()))),
        ]
        self.register_outputs({"references": self._references, "repository_urls": self.repository_urls})

    def reference(self, room: str) -> Output[str]:
        """Returns the image of a room with its digest, as a task definition takes it."""
        return self._references[room]

    def _repository(self, name: str, args: ImagesArgs) -> aws.ecr.Repository:
        encryption = {"encryption_type": "KMS" if args.key_arn else "AES256", "kms_key": args.key_arn}
        repository = aws.ecr.Repository(
            names.fit(name, names.REPOSITORY_LIMIT),
            # Tags of people stay what they are. Those of builds may move: tasks name digests, and code that is built
            # again differs in its dates.
            image_tag_mutability="IMMUTABLE_WITH_EXCLUSION",
            image_tag_mutability_exclusion_filters=[
                {"filter": f"{prefix}*", "filter_type": "WILDCARD"} for prefix in (_CACHE, _TAG)
            ],
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[aws.ecr.RepositoryEncryptionConfigurationArgs(**encryption)],
            force_delete=args.force_delete,
            opts=self._child,
        )
        aws.ecr.LifecyclePolicy(
            name, repository=repository.name, policy=Output.json_dumps({"rules": _LIFECYCLE}), opts=self._child
        )
        return repository

    def _built(self, name: str, room: str, repository: aws.ecr.Repository, args: ImagesArgs) -> Output[str]:
        platform = _PLATFORMS[args.architecture]
        tag = f"{_TAG}{fingerprint(args.context, room, platform.value)}"
        cache = Output.concat(repository.repository_url, f":{_CACHE}{args.architecture}")
        image = docker.Image(
            name,
            context={"location": str(args.context)},
            dockerfile={"location": str(args.context / "Dockerfile")},
            build_args={"ROOM": room},
            platforms=[platform],
            tags=[Output.concat(repository.repository_url, f":{tag}")],
            push=True,
            build_on_preview=False,
            cache_from=[{"registry": {"ref": cache}}],
            cache_to=[
                {
                    "registry": {
                        "ref": cache,
                        "mode": docker.CacheMode.MAX,
                        # ECR takes a cache in the form of an image only.
                        "image_manifest": True,
                        "oci_media_types": True,
                        "ignore_error": True,
                    }
                }
            ],
            opts=self._child,
        )
        return image.ref


_LIFECYCLE: Final = [
    {
        "rulePriority": 1,
        # By number, since age counts from the push: what a build has just taken the tag from may still run.
        "description": "What lost its tag is soon nobody's",
        "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": KEPT_UNTAGGED},
        "action": {"type": "expire"},
    },
    {
        "rulePriority": 2,
        "description": "Enough to roll back to",
        "selection": {
            "tagStatus": "tagged",
            "tagPatternList": [f"{_TAG}*"],
            "countType": "imageCountMoreThan",
            "countNumber": KEPT_IMAGES,
        },
        "action": {"type": "expire"},
    },
]


def fingerprint(context: Path, room: str, platform: str) -> str:
    """Returns what changes when the content of an image does, and stays when it does not.

    Args:
        context: the folder that the image is built from.
        room: relay, worker or web.
        platform: such as linux/arm64.
    """
    digest = hashlib.sha256(f"{room}\0{platform}\0".encode())
    for path in _content(context, room):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(context).as_posix()}\0{len(text)}\0".encode() + text)
    return digest.hexdigest()[:20]


def foreign_repositories(images: Iterable[str]) -> set[str]:
    """Returns the ARNs of the ECR repositories that images are in; other registries have none."""
    found = (_ECR.match(image) for image in images)
    return {f"arn:{_partition(match[2])}:ecr:{match[2]}:{match[1]}:repository/{match[3]}" for match in found if match}


def _partition(region: str) -> str:
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def _content(context: Path, room: str) -> Iterator[Path]:
    for part in (*_SHARED, room):
        top = context / part
        paths = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (path for path in paths if path.is_file() and not set(_OF_NO_MATTER) & set(path.parts))
