import json
from pathlib import Path

import pytest

from infra.graph import Graph
from infra.project import ROOT
from infra.registry import fingerprint, foreign_repositories
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.registry import Images, ImagesArgs
images = Images(f"{settings.prefix}-images", ImagesArgs(
    rooms=["relay", "worker"],
    prebuilt=settings.release.images,
    architecture=settings.release.architecture,
    force_delete=not settings.protect,
    key_arn="arn:key" if settings.customer_key else None,
), opts)
pulumi.export("relay", images.reference("relay"))
pulumi.export("worker", images.reference("worker"))
pulumi.export("arns", images.repository_arns)
"""
PREBUILT = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ours/worker@sha256:" + "b" * 64
RELAY = "smtp-proxy-prod-images-relay"
REPOSITORY = "aws:ecr/repository:Repository"
IMAGE = "docker-build:index:Image"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("registry") / "stack"
    return declare(folder, BODY, {"images": {"worker": PREBUILT}})


@pytest.mark.requirement("QG-5")
def test_a_repository_is_scanned_encrypted_and_its_tags_stay_what_they_are(graph: Graph) -> None:
    assert graph.one(REPOSITORY, RELAY).inputs == {
        "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
        "imageTagMutabilityExclusionFilters": [
            {"filter": "cache-*", "filterType": "WILDCARD"},
            {"filter": "code-*", "filterType": "WILDCARD"},
        ],
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfigurations": [{"encryptionType": "KMS", "kmsKey": "arn:key"}],
        "forceDelete": False,
    }


def test_what_is_old_goes_and_enough_stays_to_roll_back_to(graph: Graph) -> None:
    policy = graph.one("aws:ecr/lifecyclePolicy:LifecyclePolicy", RELAY)
    assert policy.inputs["repository"] == f"${{{RELAY}.name}}"
    rules = json.loads(policy.inputs["policy"])["rules"]
    assert [(rule["rulePriority"], rule["selection"], rule["action"]) for rule in rules] == [
        (
            1,
            {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 10},
            {"type": "expire"},
        ),
        (
            2,
            {
                "tagStatus": "tagged",
                "tagPatternList": ["code-*"],
                "countType": "imageCountMoreThan",
                "countNumber": 30,
            },
            {"type": "expire"},
        ),
    ]


@pytest.mark.requirement("ECS-013")
@pytest.mark.requirement("LOCAL-013")
def test_an_image_is_built_for_the_tasks_processor_and_pushed_under_what_is_in_it(graph: Graph) -> None:
    url = f"${{{RELAY}.repository_url}}"
    cache = f"{url}:cache-arm64"
    assert graph.one(IMAGE, RELAY).inputs == {
        "context": {"location": str(ROOT)},
        "dockerfile": {"location": str(ROOT / "Dockerfile")},
        "buildArgs": {"ROOM": "relay"},
        "platforms": ["linux/arm64"],
        "tags": [f"{url}:code-{fingerprint(ROOT, 'relay', 'linux/arm64')}"],
        "push": True,
        "buildOnPreview": False,
        "network": "default",
        "cacheFrom": [{"registry": {"ref": cache}}],
        "cacheTo": [
            {
                "registry": {
                    "ref": cache,
                    "mode": "max",
                    "imageManifest": True,
                    "ociMediaTypes": True,
                    "ignoreError": True,
                }
            }
        ],
    }


def test_a_prebuilt_image_is_not_built_but_has_a_repository(graph: Graph) -> None:
    assert [node.name for node in graph.of_type(IMAGE)] == [RELAY]
    assert {node.name for node in graph.of_type(REPOSITORY)} == {RELAY, "smtp-proxy-prod-images-worker"}
    assert graph.exports == {
        "relay": f"${{{RELAY}.ref}}",
        "worker": PREBUILT,
        "arns": [
            f"arn:aws:ecr:${{region}}:${{account}}:${{{RELAY}.arn}}",
            "arn:aws:ecr:${region}:${account}:${smtp-proxy-prod-images-worker.arn}",
            "arn:aws:ecr:eu-west-1:123456789012:repository/ours/worker",
        ],
    }


def test_the_contract(graph: Graph) -> None:
    assert [problem for check in contract.ALL for problem in check(graph)] == []


def test_a_stack_that_may_go_takes_its_images_with_it(tmp_path: Path) -> None:
    graph = declare(tmp_path / "dev", BODY, {"architecture": "x86_64"}, stack="dev")
    repository = graph.one(REPOSITORY, "smtp-proxy-dev-images-relay")
    assert repository.inputs["forceDelete"] is True
    assert repository.inputs["encryptionConfigurations"] == [{"encryptionType": "AES256"}]
    assert graph.one(IMAGE, "smtp-proxy-dev-images-relay").inputs["platforms"] == ["linux/amd64"]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("Dockerfile", "pyproject.toml", "uv.lock", "mail/a.py", "backing/b.py", "relay/c.py", "worker/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_tag_changes_with_what_is_in_the_image_and_with_nothing_else(context: Path) -> None:
    before = fingerprint(context, "relay", "linux/arm64")
    (context / "worker/d.py").write_text("other")
    (context / "README.md").write_text("other")
    (context / "relay/__pycache__").mkdir()
    (context / "relay/__pycache__/c.pyc").write_text("other")
    assert fingerprint(context, "relay", "linux/arm64") == before
    others = {fingerprint(context, "worker", "linux/arm64"), fingerprint(context, "relay", "linux/amd64")}
    for name in ("Dockerfile", "uv.lock", "mail/a.py", "relay/c.py"):
        (context / name).write_text(f"{name} changed")
        others.add(fingerprint(context, "relay", "linux/arm64"))
    (context / "relay/c.py").rename(context / "relay/e.py")
    others.add(fingerprint(context, "relay", "linux/arm64"))
    assert len(others | {before}) == 8


def test_repositories_elsewhere() -> None:
    images = [
        "ghcr.io/someone/relay@sha256:1",
        "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/relay:v1@sha256:1",
    ]
    assert foreign_repositories(images) == {"arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/relay"}
