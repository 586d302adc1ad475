"""Settings from a file and the environment."""

from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import BaseSettings

from backing.settings import RELOADABLE, ConfigurationError, read, reloadable
from relay.settings import RelaySettings

pytestmark = pytest.mark.requirement("CORE-OPS-002")

NEEDED = {
    "DATABASE_URL": "postgresql://app@127.0.0.1:1/none",
    "QUEUE_URL": "https://sqs.invalid/queue",
    "BODY_BUCKET": "bodies",
    "RELAY_CERTIFICATE_FILE": "/certificate",
    "RELAY_PRIVATE_KEY_FILE": "/key",
}
TOO_LONG = "RELAY_DRAIN_SECONDS: 110 and RELAY_GRACE_SECONDS, which is 20, make 130; together they may be 115 at most"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the relay needs, and a place for a file that is named."""
    file = tmp_path / "settings.env"
    for name, value in (NEEDED | {"SETTINGS_FILE": str(file)}).items():
        monkeypatch.setenv(name, value)
    return file


def test_the_environment_wins_over_the_file(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.write_text(
        "# limits\n\nRELAY_MAX_RECIPIENTS=200\nexport relay_max_connections='30'\nLOG_LEVEL=DEBUG # for now\n"
    )
    monkeypatch.setenv("RELAY_MAX_RECIPIENTS", "300")
    settings = read(RelaySettings)
    chosen = (settings.relay_max_recipients, settings.relay_max_connections, settings.log_level)
    assert chosen == (300, 30, "DEBUG")


def test_a_wrong_value_in_the_file_is_said_as_one_in_the_environment(environment: Path) -> None:
    environment.write_text("RELAY_MAX_CONNECTIONS=0\n")
    with pytest.raises(ConfigurationError) as fault:
        read(RelaySettings)
    assert str(fault.value) == "RELAY_MAX_CONNECTIONS: Input should be greater than or equal to 1"


@pytest.mark.parametrize(
    ("namespace", "fault"),
    [
        ("AWS/SQS", "METRICS_NAMESPACE: Value error, must not begin with AWS/, which AWS keeps for itself"),
        (":mail", "METRICS_NAMESPACE: String should match pattern '^[A-Za-z0-9._/#-][A-Za-z0-9._/#: -]{0,254}$'"),
    ],
)
@pytest.mark.usefixtures("environment")
def test_cloudwatch_takes_the_namespace(namespace: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETTINGS_FILE", "")
    assert read(RelaySettings).metrics_namespace == "SmtpProxy"
    monkeypatch.setenv("METRICS_NAMESPACE", namespace)
    with pytest.raises(ConfigurationError) as refused:
        read(RelaySettings)
    assert str(refused.value) == fault


def test_what_the_file_may_not_have_is_named_with_its_line(environment: Path) -> None:
    environment.write_text("LOG_LEVEL=INFO\nRELAY_MAX_CONECTIONS=10\nSETTINGS_FILE=/x\n=5\nLOG_LEVEL\n")
    with pytest.raises(ConfigurationError) as fault:
        read(RelaySettings)
    assert str(fault.value).splitlines() == [
        f"{environment}, line 2: unknown key RELAY_MAX_CONECTIONS",
        f"{environment}, line 3: unknown key SETTINGS_FILE",
        f"{environment}, line 4: not KEY=value",
        f"{environment}, line 5: not KEY=value",
    ]


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff\xfe=1\n", "not UTF-8 text")]
)
def test_a_file_that_cannot_be_read_is_named(environment: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        environment.write_bytes(content)
    with pytest.raises(ConfigurationError) as fault:
        read(RelaySettings)
    assert str(fault.value) == f"SETTINGS_FILE: {environment} cannot be read: {reason}"


@pytest.mark.parametrize(
    ("lines", "complaints"),
    [
        (
            ["RELAY_QUEUE_DEPTH_LOW=60000"],
            ["RELAY_QUEUE_DEPTH_LOW: 60000 is not below RELAY_QUEUE_DEPTH_HIGH, which is 50000"],
        ),
        (
            ["RELAY_QUEUE_AGE_HIGH_SECONDS=600", "RELAY_GRACE_SECONDS=20", "RELAY_DRAIN_SECONDS=110"],
            [
                "RELAY_QUEUE_AGE_LOW_SECONDS: 600 is not below RELAY_QUEUE_AGE_HIGH_SECONDS, which is 600",
                TOO_LONG,
            ],
        ),
    ],
)
def test_values_that_contradict_each_other_are_both_named(
    environment: Path, lines: list[str], complaints: list[str]
) -> None:
    environment.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError) as fault:
        read(RelaySettings)
    assert str(fault.value).splitlines() == complaints


def test_a_setting_says_whether_it_is_reloadable() -> None:
    class Some(BaseSettings):
        fixed: int = 1
        limit: int = Field(default=1, json_schema_extra=RELOADABLE)

    assert reloadable(Some) == {"limit"}
