import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import plan
from infra.graph import Graph
from infra.project import ROOT, Project


@pytest.mark.requirement("ECS-002")
def test_the_command_needs_no_cli_and_no_account(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "infra.plan", "prod"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "smtp-proxy prod: 4 components, 17 resources"
    assert lines[10:16] == [
        "├─ Queue                                                 smtp-proxy-prod-delivery  (5 resources, protected)",
        "│  ├─ aws.sqs.Queue                                      smtp-proxy-prod-delivery",
        "│  ├─ aws.sqs.Queue                                      smtp-proxy-prod-delivery-dead",
        "│  ├─ aws.sqs.QueuePolicy                                smtp-proxy-prod-delivery",
        "│  ├─ aws.sqs.QueuePolicy                                smtp-proxy-prod-delivery-dead",
        "│  └─ aws.sqs.RedriveAllowPolicy                         smtp-proxy-prod-delivery",
    ]
    assert "  secrets_key_alias               alias/smtp-proxy-prod-secrets" in lines


def test_the_tree_shows_every_node(stack: Graph, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main([stack.stack]) == 0
    tree = capsys.readouterr().out.split("\n\n")[1]
    assert len(tree.splitlines()) == len(stack.nodes)


def test_json_is_the_whole_graph(stack: Graph, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main([stack.stack, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["counts"] == {"components": len(stack.components), "resources": len(stack.resources)}
    assert [node["urn"] for node in shown["nodes"]] == [node.urn for node in stack.nodes]
    assert [node["inputs"] for node in shown["nodes"]] == [node.inputs for node in stack.nodes]
    assert shown["exports"] == stack.exports


def test_an_unknown_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan.main(["staging"]) == 2
    assert capsys.readouterr().err == (
        "there is no stack 'staging', Pulumi.staging.yaml is missing; stacks here: dev, prod\n"
    )


def test_an_invalid_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  smtp-proxy:queueMaxReceives: 0\n")
    assert plan.main(["dev"], Project(tmp_path)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "stack dev cannot be built, 1 problem(s) in its configuration:\n"
        "- smtp-proxy:queueMaxReceives is '0'; SQS allows 1 to 1000. "
        "Run: pulumi config set smtp-proxy:queueMaxReceives 5\n"
    )
