from collections.abc import Callable
from pathlib import Path

import pytest

from infra import graph
from infra.graph import Graph
from infra.project import Project
from tests.infra import contract

Check = Callable[[Graph], list[str]]


@pytest.mark.requirement("ECS-002")
@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_every_node_keeps_the_contract(stack: Graph, check: Check) -> None:
    assert check(stack) == []


def test_the_provider_carries_region_and_tags(stack: Graph) -> None:
    (provider,) = stack.of_type("pulumi:providers:aws")
    assert provider.inputs["region"] == "us-east-1"
    tags = f'{{"tags": {{"Project": "smtp-proxy", "Stack": "{stack.stack}", "ManagedBy": "pulumi"}}}}'
    assert provider.inputs["defaultTags"] == tags


def test_a_preview_shows_every_resource(stack: Graph) -> None:
    preview = graph.build(stack.stack, preview=True)
    assert [node.urn for node in preview.nodes] == [node.urn for node in stack.nodes]


def test_production_refuses_to_delete_what_holds_mail_or_keys(prod: Graph) -> None:
    assert contract.unprotected(prod) == []


BODY = """
import pulumi, pulumi_aws as aws
from infra import config
config.load()
provider = aws.Provider("aws", region="us-east-1")
group = pulumi.ComponentResource("smtp-proxy:test:Group", "group", None, pulumi.ResourceOptions(providers=[provider]))
opts = pulumi.ResourceOptions(parent=group)
"""


@pytest.mark.parametrize(
    ("check", "line"),
    [
        (contract.duplicates, 'aws.sqs.Queue("a", opts=opts); aws.sqs.Queue("a", opts=opts)'),
        (
            contract.twins,
            (
                'aws.sqs.Queue("a", opts=opts); '
                'aws.sqs.Queue("a", opts=pulumi.ResourceOptions(parent=pulumi.ComponentResource('
                '"smtp-proxy:test:Other", "group", None, pulumi.ResourceOptions(providers=[provider]))))'
            ),
        ),
        (contract.orphans, 'aws.sqs.Queue("a", opts=pulumi.ResourceOptions(provider=provider))'),
        (contract.strays, 'aws.sqs.Queue("a")'),
        (contract.misspelt, 'aws.s3.BucketOwnershipControls("a", bucket="b", rule={"ownership": "x"}, opts=opts)'),
        (contract.misspelt, 'aws.sqs.Queue("a", delay_seconds="3", opts=opts)'),
        (contract.misspelt, 'aws.sqs.Queue("a", delay_seconds=0.5, opts=opts)'),
        (contract.refused_by_aws, 'aws.kms.Key("a", key_usage="ENCRYPT", opts=opts)'),
        (contract.refused_by_aws, 'aws.glacier.Vault("a", opts=opts)'),
        (
            contract.refused_by_aws,
            'aws.s3.BucketLifecycleConfiguration("a", bucket="b", rules=[{"id": "x", "status": "On"}], opts=opts)',
        ),
        (
            contract.ignoring_nothing,
            'aws.sqs.Queue("a", opts=pulumi.ResourceOptions(parent=group, ignore_changes=["visibility"]))',
        ),
        (contract.outputs_as_text, 'aws.sqs.Queue("a", policy="Calling __str__ on an Output[T]", opts=opts)'),
        (contract.too_long, 'aws.s3.Bucket("b" * 56, opts=opts)'),
        (contract.deprecated, 'aws.s3.BucketVersioningV2("a", bucket="b", versioning_configuration={}, opts=opts)'),
    ],
)
def test_the_contract_notices(tmp_path: Path, check: Check, line: str) -> None:
    assert check(graph.build("dev", _project(tmp_path, line))) != []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("aws.get_region(opts=pulumi.InvokeOptions(provider=provider))", "must not look anything up"),
        ('f"{provider.urn}"', "Calling __str__"),
    ],
)
def test_the_program_cannot(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        graph.build("dev", _project(tmp_path, line))


def test_a_resource_made_of_an_answer_is_missing_from_the_preview(tmp_path: Path) -> None:
    line = 'aws.sqs.Queue("a", opts=opts).url.apply(lambda url: aws.sqs.Queue("b", opts=opts) and None)'
    project = _project(tmp_path, line)
    assert len(graph.build("dev", project).nodes) == len(graph.build("dev", project, preview=True).nodes) + 1


def _project(folder: Path, line: str) -> Project:
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (folder / name).write_text((Project().root / name).read_text())
    (folder / "__main__.py").write_text(f"{BODY}{line}\n")
    return Project(folder)
