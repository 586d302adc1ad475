"""How many requests the API answers, and how fast (PR-3, CORE-PERF-002): `python -m bench.web_status`.

Two processes of it, as two tasks behind a load balancer, with real PostgreSQL, Valkey and a queue, all of them and the
load on this machine's processors. Beside it, what FastAPI on uvicorn takes that answers with a ready document.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench import machine, web_tasks
from bench.http_load import Plan
from bench.rows import Old
from bench.web_tasks import Tasks
from local import names, tenant
from local import stack as stacks
from local.arguments import Options
from local.state import Stack
from mail.job import StoredBody

SECONDS, WARM_UP_SECONDS = 10, 4
MANY_RATE = 1000
# Messages that are there, and those of them that are asked for.
OLD, ASKED = 20_000, 500
LETTER = {
    "from": {"address": "app@local.example"},
    "to": [{"address": "someone@example.net"}],
    "subject": "Hello",
    "text": "Over HTTP.",
}
MESSAGES = "/api/v1/messages"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a requirement asks for: milliseconds, and the share of requests that may fail."""

    requirement: str
    p95: float
    p50: float = float("inf")
    p99: float = float("inf")
    failed: float = 0.0
    queries: float = float("inf")


STEADY = Goal("CORE-PERF-002", p95=100, queries=50)
MANY = Goal("PR-3", p50=100, p95=200, p99=500, failed=0.001)


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked for, how often, and how well that should go."""

    name: str
    rate: int
    paths: tuple[str, ...]
    goal: Goal | None = None
    body: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How it went: milliseconds, and microseconds of CPU a request by who took them."""

    rate: float
    asked: int
    failed: int
    percentiles: tuple[float, float, float]
    queries: float
    cpu: dict[str, float]

    def misses(self, case: Case, goal: Goal) -> list[str]:
        """What of a goal was not reached."""
        p50, p95, p99 = self.percentiles
        figures = (("P50", p50, goal.p50), ("P95", p95, goal.p95), ("P99", p99, goal.p99))
        missed = [f"{name} {figure:.0f} ms" for name, figure, most in figures if figure >= most]
        missed += [f"queries {self.queries:g} ms"] * (self.queries >= goal.queries)
        missed += [f"{self.failed} failed"] * (self.failed > goal.failed * self.asked)
        return missed + [f"{self.rate:.0f}/s"] * (self.rate < 0.98 * case.rate)


def measure(tasks: Tasks, key: str, case: Case, seconds: float = SECONDS) -> Result:
    """Put a steady load on them."""
    plan = Plan(ports=tasks.ports, paths=case.paths, rate=case.rate, seconds=seconds, key=key, body=case.body)
    cpu, queries = tasks.cpu(), tasks.queries()
    seen = _run(plan)
    answered = len(seen["taken"])
    taken = {name: each - cpu[name] for name, each in tasks.cpu().items()} | {"load": seen["cpu"]}
    return Result(
        rate=answered / seen["seconds"],
        asked=seen["asked"],
        failed=seen["failed"],
        percentiles=machine.percentiles(seen["taken"]),
        queries=_p95(tasks.queries() - queries),
        cpu={name: each / answered * 1e6 for name, each in taken.items()},
    )


def _run(plan: Plan) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.http_load", json.dumps(asdict(plan))]
    seen: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return seen


def _p95(buckets: Counter[float]) -> float:
    """The bound in milliseconds that 95 % of them are within; the metrics know no more than bounds."""
    total = max(buckets.values(), default=0)
    return min((bound for bound, count in buckets.items() if total and count >= 0.95 * total), default=0.0) * 1000


def main() -> None:
    """Start a stack, put load on its API, tell."""
    print(f"{web_tasks.TASKS} processes of the API, {OLD} messages: ms from when a request was due, us of CPU each")
    print(f"{'':24} {'/s':>6} {'failed':>6} {'P50':>6} {'P95':>6} {'P99':>6} {'query P95':>9}  CPU")
    with tempfile.TemporaryDirectory() as folder:
        options = Options(state=Path(folder), free_ports=True, fast=True, follow_parent=True)
        with stacks.running(options) as stack:
            cases, key = _cases(_ids(stack)), _key(stack)
            with web_tasks.running(stack) as tasks:
                for case in cases:
                    measure(tasks, key, case, WARM_UP_SECONDS)
                    _tell(case, measure(tasks, key, case))
    with web_tasks.bare() as tasks:
        case = Case("bare FastAPI, the same", MANY_RATE, ("/",))
        _tell(case, measure(tasks, "", case))
    print()


def _cases(ids: Sequence[str]) -> tuple[Case, ...]:
    statuses = tuple(f"{MESSAGES}/{each}" for each in ids)
    return (
        Case("status of a message", 100, statuses, STEADY),
        Case("status of a message", MANY_RATE, statuses, MANY),
        Case("search", 100, (MESSAGES,), STEADY),
        Case("submission", 50, (MESSAGES,), body=json.dumps(LETTER)),
    )


def _ids(stack: Stack) -> list[str]:
    """Fill the database; give the ids of messages that were delivered."""
    address = stack.environment["DATABASE_URL"]
    with psycopg.connect(address, passfile=stack.environment["PGPASSFILE"], autocommit=True) as database:
        row = database.execute("SELECT id FROM account WHERE name = %s", [tenant.NAME]).fetchone()
        assert row
        Old(row[0], OLD, b"x", StoredBody(names.BUCKET, "bodies/old")).fill(database)
        found = database.execute("SELECT id::text FROM message ORDER BY sha256(uuid_send(id)) LIMIT %s", [ASKED])
        return [each[0] for each in found]


def _key(stack: Stack) -> str:
    words = ("key", "create", "bench", "--account", tenant.NAME, "--rate", "1000000", "--json")
    environment = {**os.environ, **stack.environment}  # noqa: TID251 - the operator's command in the stack's environment
    made = subprocess.run(
        [sys.executable, "-m", "backing", *words], env=environment, capture_output=True, text=True, check=True
    )
    return made.stdout.split('"')[7]


def _tell(case: Case, result: Result) -> None:
    p50, p95, p99 = result.percentiles
    cpu = ", ".join(f"{name} {each:.0f}" for name, each in result.cpu.items())
    print(
        f"{case.name:20} {case.rate:4}/s {result.rate:5.0f} {result.failed:6} {p50:6.1f} {p95:6.1f} {p99:6.1f} "
        f"{'<= ' + format(result.queries, 'g') if result.queries else '':>9}  {cpu}",
        flush=True,
    )
    if case.goal:
        missed = result.misses(case, case.goal)
        print(f"{case.goal.requirement}: {'missed: ' + ', '.join(missed) if missed else 'met'}", flush=True)


if __name__ == "__main__":
    main()
