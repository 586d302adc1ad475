import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.graph import Graph
from infra.plan.command import main
from infra.project import ROOT, Project
from tests.infra.samples import project

SECTIONS = ["cost a month", "permissions", "network flows", "alarms", "policy findings", "exports"]


@pytest.fixture
def sample(tmp_path: Path) -> Project:
    return project(tmp_path / "sample")


@pytest.mark.requirement("ECS-002")
def test_the_command_needs_no_cli_and_no_account(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "infra.plan", "prod", "--strict"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("smtp-proxy prod: ")
    start = lines.index(
        "├─ Queue                                                 smtp-proxy-prod-delivery  (5 resources, protected)"
    )
    assert lines[start + 1 : start + 6] == [
        "│  ├─ aws.sqs.Queue                                      smtp-proxy-prod-delivery",
        "│  ├─ aws.sqs.Queue                                      smtp-proxy-prod-delivery-dead",
        "│  ├─ aws.sqs.QueuePolicy                                smtp-proxy-prod-delivery",
        "│  ├─ aws.sqs.QueuePolicy                                smtp-proxy-prod-delivery-dead",
        "│  └─ aws.sqs.RedriveAllowPolicy                         smtp-proxy-prod-delivery",
    ]
    assert "  provider_key                    alias/smtp-proxy-prod-secrets" in lines


HEADS = {
    "dev": "smtp-proxy dev: 62 components, 350 resources, $197 a month ($360 at full scale), 0 findings",
    "prod": "smtp-proxy prod: 68 components, 393 resources, $430 a month ($1,073 at full scale), 0 findings",
}


@pytest.mark.requirement("NFR-4")
def test_the_real_stacks_in_a_line_and_as_a_tree_of_every_node(
    stack: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([stack.stack]) == 0
    head, tree, *_ = capsys.readouterr().out.split("\n\n")
    assert head == HEADS[stack.stack]
    assert len(tree.splitlines()) == len(stack.nodes)


def test_the_head_counts_and_the_sections_follow(sample: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod"], sample) == 0
    head, tree, *sections = capsys.readouterr().out.split("\n\n")
    assert head == ("smtp-proxy prod: 15 components, 132 resources, $411 a month ($1,045 at full scale), 0 findings")
    assert tree.startswith("├─ ")
    assert [
        section.partition("\n")[0].startswith(title) for section, title in zip(sections, SECTIONS, strict=True)
    ] == [True] * len(SECTIONS)


def test_the_summary_is_for_a_look(sample: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--summary"], sample) == 0
    head, cost, findings = capsys.readouterr().out.split("\n\n")
    assert head.startswith("smtp-proxy prod: ")
    assert cost.splitlines()[1] == "  component                                     baseline  full scale"
    assert findings == "policy findings: 0\n"


def test_one_section(sample: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--only", "alarms"], sample) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "alarms (name, when, what it means; what to do is in docs/reference/alarms.md)",
        (
            "  smtp-proxy-prod-alarms-depth   Maximum of AWS/SQS ApproximateNumberOfMessagesVisible > 50,000, "
            "2 of 2 times 60 s  mail waits"
        ),
        "  smtp-proxy-prod-alarms-errors  errors, % > 5, 2 of 3 times 10 s",
    ]


def test_the_permissions_of_each_role(sample: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--only", "permissions"], sample) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    start = lines.index("  smtp-proxy-prod-relay  (ecs-tasks.amazonaws.com)")
    assert lines[start + 1 : start + 6] == [
        "    sqs:SendMessage",
        "      on sqs smtp-proxy-prod-delivery",
        "  smtp-proxy-prod-services  (ecs-tasks.amazonaws.com)",
        "    as AmazonECSTaskExecutionRolePolicy says",
        "      on *",
    ]


@pytest.mark.requirement("SC-7.3")
def test_the_flows_are_a_table(sample: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--only", "flows"], sample) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert [
        "smtp-proxy-prod-firewall-relay",
        "smtp-proxy-prod-firewall-database",
        "tcp",
        "5432",
        "PostgreSQL",
    ] in rows
    assert ["0.0.0.0/0", "smtp-proxy-prod-firewall-nlb", "tcp", "587", "SMTP"] in rows
    assert len(rows) == 21


def test_the_cost_by_itself_shows_lines_assumptions_and_sources(
    sample: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prod", "--only", "cost"], sample) == 0
    out = capsys.readouterr().out
    assert "  mail_bytes                20,000      20,000  bytes of a mail\n" in out
    assert "  vantage   instances.vantage.sh and cur.vantage.sh, from AWS's price list\n" in out
    (nat,) = [line.split() for line in out.splitlines() if " network.nat " in line]
    assert nat[:6] == ["smtp-proxy-prod-network-0", "network.nat", "730.00", "730.00", "32.85", "32.85"]


def test_prices_of_another_region_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--summary"], project(tmp_path, {"region": "eu-central-1"})) == 0
    assert "  the stack is in eu-central-1, whose prices differ; these are us-east-1's\n" in capsys.readouterr().out


def test_json_is_the_whole_graph_and_all_that_is_said_of_it(
    sample: Project, sample_prod: Graph, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prod", "--json"], sample) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["counts"] == {"components": 15, "resources": 132}
    assert [node["urn"] for node in shown["nodes"]] == [node.urn for node in sample_prod.nodes]
    assert [node["inputs"] for node in shown["nodes"]] == [node.inputs for node in sample_prod.nodes]
    assert shown["exports"] == sample_prod.exports
    assert round(shown["cost"]["baseline"], 2) == round(sum(line["baseline"] for line in shown["cost"]["lines"]), 2)
    assert len(shown["flows"]) == 21
    assert len(shown["alarms"]) == 2
    assert shown["findings"] == shown["accepted"] == shown["cost"]["unpriced"] == []
    assert shown["trusted"]["smtp-proxy-prod-relay"] == ["ecs-tasks.amazonaws.com"]
    assert {
        "role": "smtp-proxy-prod-relay",
        "effect": "Allow",
        "actions": ["sqs:SendMessage"],
        "resources": ["sqs smtp-proxy-prod-delivery"],
        "conditions": "",
    } in shown["permissions"]


def test_findings_are_told_and_strict_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weak = project(tmp_path, {"alarmEmails": []})
    assert main(["prod", "--only", "findings"], weak) == 0
    assert main(["prod", "--only", "findings", "--strict"], weak) == 1
    shown = capsys.readouterr().out.split("smtp-proxy prod: ")[-1]
    assert shown.splitlines()[2:] == [
        "policy findings: 1",
        (
            "  medium topic-subscribed: smtp-proxy-prod-alarms: "
            "alarms of production are sent to a topic that nobody reads"
        ),
        "    Set alarmEmails.",
    ]


def test_what_changed_since_a_saved_plan(sample: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prod", "--json"], sample) == 0
    (tmp_path / "saved.json").write_text(capsys.readouterr().out)
    assert main(["prod", "--against", str(tmp_path / "saved.json")], sample) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "resources: 0 added, 0 removed, 0 changed",
        "cost a month: $411.38 -> $411.38 (+0.00)",
        "at full scale: $1,045.45 -> $1,045.45 (+0.00)",
        "permissions: 0 added, 0 removed",
        "network flows: 0 added, 0 removed",
        "findings: 0 added, 0 removed",
    ]
    changed = project(tmp_path / "changed", {"databaseReplica": True, "alarmEmails": [], "relayTasks": 3})
    assert main(["prod", "--against", str(tmp_path / "saved.json")], changed) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "resources: 1 added, 1 removed, 3 changed",
        "  + aws:rds/instance:Instance smtp-proxy-prod-database-replica",
        "  - aws:sns/topicSubscription:TopicSubscription smtp-proxy-prod-alarms-0",
        "  ~ aws:rds/instance:Instance smtp-proxy-prod-database",
        "      manageMasterUserPassword: true -> (none)",
        '      passwordWo: (none) -> "[secret]"',
        "  ~ aws:appautoscaling/target:Target smtp-proxy-prod-relay",
        "      minCapacity: 2.0 -> 3.0",
        "  ~ aws:ecs/service:Service smtp-proxy-prod-relay",
        "      desiredCount: 2.0 -> 3.0",
        "cost a month: $411.38 -> $479.55 (+68.17)",
        "at full scale: $1,045.45 -> $1,115.90 (+70.45)",
        "permissions: 0 added, 0 removed",
        "network flows: 0 added, 0 removed",
        "findings: 1 added, 0 removed",
        (
            "  + medium topic-subscribed: smtp-proxy-prod-alarms: "
            "alarms of production are sent to a topic that nobody reads"
        ),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("{", "cannot be read"), ("[]", "is no plan"), ("{}", "is no plan")],
)
def test_a_file_that_is_no_plan(
    sample: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    path = tmp_path / "saved.json"
    if text is not None:
        path.write_text(text)
    assert main(["prod", "--against", str(path)], sample) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"{path} {said}")
    assert shown.err.endswith("write one with --json\n")


def test_an_unknown_stack(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["staging"]) == 2
    assert capsys.readouterr().err == (
        "there is no stack 'staging', Pulumi.staging.yaml is missing; stacks here: dev, prod\n"
    )


def test_an_invalid_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Pulumi.yaml", "__main__.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    text = "config:\n  smtp-proxy:zone: mail.example.com\n  smtp-proxy:queueMaxReceives: 0\n"
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    assert main(["dev"], Project(tmp_path)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        "stack dev cannot be built, 1 problem(s) in its configuration:\n"
        "- smtp-proxy:queueMaxReceives is '0'; SQS allows 1 to 1000. "
        "Run: pulumi config set smtp-proxy:queueMaxReceives 5\n"
    )
