"""Remote control between Celery and Umbel, in both directions, on one Redis."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.processes import PATIENCE, Program
from tests.interop.mixed_fleet import HOME, OURS, Client, Fleet, new_name, wait_ready
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def controlled(celery_python: str) -> Iterator[Fleet]:
    """A fleet on a server of its own, since commands without a destination reach everybody."""
    server = RedisServer().start()
    fleet = Fleet(server, celery_python)
    yield fleet
    fleet.close()
    server.close()


@pytest.fixture(scope="module")
def umbel_worker(controlled: Fleet) -> Iterator[Program]:
    with controlled.worker(
        "umbel", "-c", "1", queues="on-umbel", worker_pool_restarts=True
    ) as worker:
        yield wait_ready(worker)


@pytest.fixture(scope="module")
def celery_worker(controlled: Fleet) -> Iterator[Program]:
    with controlled.worker("celery", "-c", "1", queues="on-celery") as worker:
        yield wait_ready(worker)


@pytest.fixture(scope="module")
def client(controlled: Fleet) -> Iterator[Client]:
    client = controlled.client("umbel")
    yield client
    client.close()


def node_of(worker: Program) -> str:
    found = re.search(r"-n (\S+)", " ".join(worker.words))
    assert found is not None
    return found[1]


@pytest.fixture
def ask_as_celery(controlled: Fleet, celery_python: str) -> Ask:
    return _asking([celery_python, "-W", "ignore", "-m", "celery"], controlled, "")


@pytest.fixture
def ask_as_umbel(controlled: Fleet) -> Ask:
    return _asking([sys.executable, "-m", "umbel"], controlled, os.pathsep.join(OURS))


def _asking(program: list[str], fleet: Fleet, path: str) -> Ask:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CELERY", "UMBEL"))}
    env |= {"PYTHONPATH": path} if path else {}

    def ask(*words: str) -> dict[str, Any]:
        command = [*program, "-b", fleet.broker_url, *words, "--json", "-t", "5"]
        ran = subprocess.run(
            command, cwd=HOME, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.stdout.strip(), f"{words}: {ran.stderr}"
        answer = json.loads(ran.stdout)
        # Replies to ``control`` are a list, in both programs.
        return (
            {node: one for each in answer for node, one in each.items()}
            if isinstance(answer, list)
            else dict(answer)
        )

    return ask


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ping", {"ok": "pong"}),
        ("active", []),
        ("reserved", []),
        ("scheduled", []),
        ("revoked", []),
    ],
)
def test_celery_asks_a_worker_of_umbel(
    umbel_worker: Program, ask_as_celery: Ask, command: str, expected: Any
) -> None:
    node = node_of(umbel_worker)
    assert ask_as_celery("inspect", command, "-d", node) == {node: expected}


def test_celery_reads_what_a_worker_of_umbel_is(umbel_worker: Program, ask_as_celery: Ask) -> None:
    node = node_of(umbel_worker)
    assert "fleet_tasks.add" in ask_as_celery("inspect", "registered", "-d", node)[node]
    (queue,) = ask_as_celery("inspect", "active_queues", "-d", node)[node]
    assert queue["name"] == "on-umbel"
    stats = ask_as_celery("inspect", "stats", "-d", node)[node]
    assert stats["pool"]["max-concurrency"] == 1
    assert stats["broker"]["transport"] == "redis"
    assert "broker_url" in ask_as_celery("inspect", "conf", "-d", node)[node]
    assert "umbel" in ask_as_celery("inspect", "report", "-d", node)[node]["ok"]


def test_celery_steers_a_worker_of_umbel(
    umbel_worker: Program, ask_as_celery: Ask, client: Client, controlled: Fleet
) -> None:
    node = node_of(umbel_worker)

    def control(*words: str) -> Any:
        return ask_as_celery("control", *words, "-d", node)[node]

    assert control("pool_grow", "2") == {"ok": "pool will grow"}
    stats = ask_as_celery("inspect", "stats", "-d", node)[node]
    assert stats["pool"]["max-concurrency"] == 3
    assert control("pool_shrink", "2") == {"ok": "pool will shrink"}
    assert control("pool_restart") == {"ok": "reload started"}
    assert control("enable_events") == {"ok": "task events enabled"}
    assert control("disable_events") == {"ok": "task events disabled"}
    assert control("time_limit", "fleet_tasks.hold", "50", "1") == {
        "ok": "time limits set successfully"
    }
    held = client.ask("send", "hold", new_name(), queue="on-umbel")
    umbel_worker.wait_for(rf"Hard time limit \(1s\) exceeded for fleet_tasks\.hold\[{held}\]")
    assert control("time_limit", "fleet_tasks.hold", "50", "60")["ok"]
    assert "not kept" in control("rate_limit", "fleet_tasks.add", "10/m")["error"]


def test_a_worker_of_umbel_answers_while_every_slot_is_busy(
    umbel_worker: Program, ask_as_celery: Ask, client: Client, controlled: Fleet
) -> None:
    node, gate = node_of(umbel_worker), new_name()
    held = client.ask("send", "hold", gate, queue="on-umbel")
    umbel_worker.wait_for(rf"hold\[{held}\] received")
    (task,) = ask_as_celery("inspect", "active", "-d", node)[node]
    assert (task["id"], task["args"]) == (held, [gate])
    assert task["time_start"] > 1_700_000_000
    assert isinstance(task["worker_pid"], int)
    assert ask_as_celery("inspect", "query_task", held, "-d", node)[node][held][0] == "active"
    controlled.notes.open(gate)
    client.ask("get", held)


def test_umbel_asks_and_steers_both(
    umbel_worker: Program, celery_worker: Program, ask_as_umbel: Ask
) -> None:
    ours, theirs = node_of(umbel_worker), node_of(celery_worker)
    assert ask_as_umbel("inspect", "ping") == {ours: {"ok": "pong"}, theirs: {"ok": "pong"}}
    assert ask_as_umbel("inspect", "ping", "--pattern", "celery-*") == {theirs: {"ok": "pong"}}
    assert "fleet_tasks.add" in ask_as_umbel("inspect", "registered", "-d", theirs)[theirs]
    limited = ask_as_umbel("control", "rate_limit", "fleet_tasks.add", "100/s", "-d", theirs)
    assert limited == {theirs: {"ok": "new rate limit set successfully"}}


def test_celery_ends_a_worker_of_umbel(controlled: Fleet, celery_python: str) -> None:
    with controlled.worker("umbel", "-c", "1", queues="on-ending") as worker:
        wait_ready(worker)
        command = [celery_python, "-W", "ignore", "-m", "celery", "-b", controlled.broker_url]
        words = ["control", "shutdown", "-d", node_of(worker), "-t", "0.5"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        subprocess.run([*command, *words], env=env, check=False, timeout=60, capture_output=True)
        worker.wait_for("Warm shutdown")
        assert worker.wait(PATIENCE) == 0
