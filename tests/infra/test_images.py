import importlib.metadata
import json
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from infra.project import ROOT

ROOMS = ("relay", "worker", "web")
PINNED = re.compile(r"[a-z0-9./-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}")
LIMIT_MB = 500
# What Docker shows for the base image, rounded up: Debian without its tools, and CPython.
BASE_MB = 150

Instruction = tuple[str, str]


def parsed() -> tuple[dict[str, str], dict[str, tuple[str, list[Instruction]]]]:
    """The Dockerfile: global arguments, and stages as name -> base and instructions."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    stages: dict[str, tuple[str, list[Instruction]]] = {}
    steps: list[Instruction] | None = None
    for line in filter(None, text.splitlines()):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            steps = []
            stages[name or "image"] = (base, steps)
        elif steps is None:
            assert word == "ARG"
            name, _, value = rest.partition("=")
            arguments[name] = value
        else:
            steps.append((word, " ".join(rest.split())))
    return arguments, stages


ARGUMENTS, STAGES = parsed()


def steps(stage: str, word: str) -> list[str]:
    return [rest for found, rest in STAGES[stage][1] if found == word]


def final(room: str) -> list[Instruction]:
    """The instructions that make a room's image, after those of the base image."""
    base, own = STAGES[room]
    return [*STAGES[base][1], *own]


@pytest.mark.requirement("LOCAL-012")
def test_the_image_is_one_of_the_rooms_and_leaves_the_builder_behind() -> None:
    assert STAGES["image"] == ("${ROOM}", [])
    assert {name for name in STAGES if STAGES[name][0] == "runtime"} == set(ROOMS)
    assert STAGES["runtime"][0] == STAGES["builder"][0] == "${PYTHON_IMAGE}"
    assert [rest for rest in steps("runtime", "COPY") if "--from=builder" not in rest] == []


def test_bases_are_pinned_by_digest_and_small() -> None:
    assert ARGUMENTS.keys() == {"PYTHON_IMAGE", "UV_IMAGE", "ROOM"}
    assert PINNED.fullmatch(ARGUMENTS["PYTHON_IMAGE"])
    assert PINNED.fullmatch(ARGUMENTS["UV_IMAGE"])
    assert "python:3.13." in ARGUMENTS["PYTHON_IMAGE"]
    assert "-slim-" in ARGUMENTS["PYTHON_IMAGE"]


@pytest.mark.requirement("LOCAL-010")
@pytest.mark.parametrize("room", ROOMS)
def test_nobody_is_root(room: str) -> None:
    users = [rest for word, rest in final(room) if word == "USER"]
    assert users == ["10001:10001"]
    (made,) = steps("runtime", "RUN")
    assert "useradd --system --uid 10001 --gid 10001" in made
    assert STAGES["runtime"][1].index(("USER", "10001:10001")) > STAGES["runtime"][1].index(("RUN", made))


@pytest.mark.requirement("LOCAL-003")
@pytest.mark.requirement("QG-2")
@pytest.mark.parametrize(("room", "port"), [("relay", 8081), ("worker", 8081), ("web", 8081)])
def test_each_image_knows_its_health_check_and_its_command(room: str, port: int) -> None:
    (check,) = [rest for word, rest in final(room) if word == "HEALTHCHECK"]
    command = json.loads(check.partition(" CMD ")[2])
    assert command == ["python", "-m", "backing.probe", f"http://127.0.0.1:{port}/livez"]
    assert (ROOT / "backing/probe.py").exists()
    (started,) = [json.loads(rest) for word, rest in final(room) if word == "CMD"]
    assert started == ["python", "-m", {"web": "web.api"}.get(room, room)]
    (exposed,) = [rest.split() for word, rest in final(room) if word == "EXPOSE"]
    assert str(port) in exposed


@pytest.mark.requirement("LOCAL-013")
def test_packages_are_a_layer_of_their_own_before_the_code() -> None:
    builder = [f"{word} {rest}" for word, rest in STAGES["builder"][1]]
    (install,) = [n for n, step in enumerate(builder) if "uv sync" in step]
    code = [n for n, step in enumerate(builder) if step.startswith("COPY ") and "--from" not in step]
    assert len(code) == 3
    assert install < min(code)
    assert "--frozen" in builder[install]
    assert '--only-group "${ROOM}"' in builder[install]
    assert re.findall(r"--mount=(\S+)", builder[install]) == [
        "type=cache,target=/var/cache/uv",
        "type=bind,source=pyproject.toml,target=pyproject.toml",
        "type=bind,source=uv.lock,target=uv.lock",
    ]
    packages, written = steps("runtime", "COPY")[1:]
    assert packages == "--from=builder /app/.venv /app/.venv"
    assert written == "--from=builder /code /app"


def test_only_the_room_and_what_it_stands_on_gets_in() -> None:
    own = [rest for rest in steps("builder", "COPY") if "--from" not in rest]
    assert own == ["mail /code/mail", "backing /code/backing", "${ROOM} /code/${ROOM}"]
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    rooms = [f"!{room}/" for room in ("mail", "backing", *ROOMS)]
    assert [line for line in rules if line.startswith("!")] == ["!pyproject.toml", "!uv.lock", *rooms]
    assert {"**/.env", "**/*.key", "**/*.pem"} <= set(rules)


@pytest.mark.requirement("QG-5")
def test_no_secret_is_an_argument_or_a_variable() -> None:
    everything = [f"{word} {rest}" for _, made in STAGES.values() for word, rest in made if word in {"ARG", "ENV"}]
    assert len(everything) >= 3
    assert [text for text in everything if re.search(r"secret|password|token|key", text, re.IGNORECASE)] == []


def test_python_runs_compiled_code_and_writes_none() -> None:
    (compiled,) = [rest for rest in steps("builder", "RUN") if "compileall" in rest]
    assert "/code" in compiled
    assert "UV_COMPILE_BYTECODE=1" in steps("builder", "ENV")[0]
    (environment,) = steps("runtime", "ENV")
    assert {"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"} <= set(environment.split())


def test_the_authorities_of_rds_are_where_libpq_looks() -> None:
    (added,) = steps("builder", "ADD")
    url = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
    assert added == f"--chmod=0444 {url} /certificates/rds.pem"
    assert "PGSSLROOTCERT=/etc/ssl/certs/rds.pem" in steps("runtime", "ENV")[0].split()
    assert steps("runtime", "COPY")[0] == "--from=builder /certificates/rds.pem /etc/ssl/certs/rds.pem"


def test_a_mount_at_tmp_can_be_written_by_the_user() -> None:
    assert steps("runtime", "VOLUME") == ["/tmp"]  # noqa: S108 - a path in the image
    assert "install --directory --mode=1777 /tmp" in steps("runtime", "RUN")[0]


def installed_bytes(group: str) -> int:
    """What the packages of a group and all they need take, with the code that is compiled."""
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    by_name: dict[str, list[dict[str, Any]]] = {}
    for package in lock["package"]:
        by_name.setdefault(package["name"], []).append(package)
    (project,) = by_name["smtp-proxy"]
    ahead = [entry["name"] for entry in project["dev-dependencies"][group]]
    wanted = set[str]()
    while ahead:
        name = ahead.pop()
        if name not in wanted:
            wanted.add(name)
            for package in by_name[name]:
                extras = cast("dict[str, list[dict[str, str]]]", package.get("optional-dependencies", {}))
                further = [package.get("dependencies", []), *extras.values()]
                ahead += [entry["name"] for found in further for entry in found]
    return sum(map(_size, wanted))


def _size(name: str) -> int:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return 0  # for another system, or an extra that nobody asked for
    paths = [Path(str(file.locate())) for file in files]
    sizes = [(path.suffix, path.stat().st_size) for path in paths if path.exists()]
    return sum(size * (2 if suffix == ".py" else 1) for suffix, size in sizes if suffix != ".pyc")


@pytest.mark.requirement("QG-2")
@pytest.mark.requirement("LOCAL-012")
@pytest.mark.parametrize("room", ROOMS)
def test_an_image_is_below_its_limit(room: str) -> None:
    packages = installed_bytes(room) / 1e6
    assert packages > 50
    assert BASE_MB + packages < LIMIT_MB
