"""The real Flower in front of Umbel workers: it shows them, and its buttons work."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import PATIENCE, Program
from tests.interop.mixed_fleet import HOME, Client, Fleet, new_name, wait_ready
from tests.redis_server import RedisServer, free_port
from umbel.testing.conformance.station import eventually

pytestmark = [pytest.mark.redis, pytest.mark.slow]


class Flower:
    """Flower's HTTP interface."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._base}{path}", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("/api") else text

    def press(self, path: str, **form: Any) -> tuple[int, str]:
        """Do what a button does; return the status and what it says."""
        data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def shown(celery_python: str) -> Iterator[Fleet]:
    """A fleet on a server of its own, since Flower speaks to everybody."""
    server = RedisServer().start()
    fleet = Fleet(server, celery_python)
    yield fleet
    fleet.close()
    server.close()


@pytest.fixture(scope="module")
def worker(shown: Fleet) -> Iterator[Program]:
    options = {"worker_pool_restarts": True, "task_acks_late": True}
    with shown.worker("umbel", "-E", "-c", "1", queues="celery", **options) as worker:
        yield wait_ready(worker)


@pytest.fixture(scope="module")
def flower(shown: Fleet, celery_python: str, worker: Program) -> Iterator[Flower]:
    have = subprocess.run([celery_python, "-c", "import flower"], capture_output=True, check=False)
    if have.returncode != 0:
        pytest.skip("Flower is not installed beside the real Celery (`make test` does it)")
    port = free_port()
    env = shown.environment("celery", {}) | {"FLOWER_UNAUTHENTICATED_API": "true"}
    words = [celery_python, "-W", "ignore", "-m", "celery", "-A", "fleet_tasks", "flower"]
    words += [f"--port={port}", "--address=127.0.0.1", "--inspect_timeout=5000"]
    with Program(words, cwd=HOME, env=env) as program:
        program.wait_for("Connected to redis")
        yield Flower(port)


@pytest.fixture(scope="module")
def client(shown: Fleet) -> Iterator[Client]:
    client = shown.client("umbel")
    yield client
    client.close()


@pytest.fixture(scope="module")
def node(worker: Program, flower: Flower) -> str:
    found = re.search(r"-n (\S+)", " ".join(worker.words))
    assert found is not None
    name = found[1]
    eventually(lambda: flower.get("/api/workers?status=true").get(name) is True)
    return name


def test_it_shows_the_worker_with_everything_its_page_needs(flower: Flower, node: str) -> None:
    about = flower.get(f"/api/workers?refresh=1&workername={node}")[node]
    assert about["stats"]["pool"]["max-concurrency"] == 1
    assert about["stats"]["broker"]["transport"] == "redis"
    assert [queue["name"] for queue in about["active_queues"]] == ["celery"]
    assert "fleet_tasks.add" in about["registered"]
    assert about["conf"]["worker_pool_restarts"] is True
    page = flower.get(f"/worker/{node}")
    for word in ("Max concurrency", "fleet_tasks.add", "worker_pool_restarts"):
        assert word in page


def test_it_shows_tasks_from_their_beginning_to_their_end(
    flower: Flower, node: str, client: Client
) -> None:
    done, failed = client.ask("send", "add", 4, 5), client.ask("send", "fail", "builtin")
    assert client.ask("get", done) == 9

    def about(task_id: str) -> Any:
        return flower.get("/api/tasks").get(task_id) or {}

    eventually(lambda: about(done).get("state") == "SUCCESS")
    eventually(lambda: about(failed).get("state") == "FAILURE")
    told = about(done)
    assert (told["name"], told["args"], told["result"]) == ("fleet_tasks.add", "(4, 5)", "9")
    assert told["worker"] == node
    assert about(failed)["exception"] == "KeyError('key', 42)"
    assert "fleet_tasks.add" in flower.get(f"/task/{done}")


def test_it_counts_what_waits(flower: Flower, node: str) -> None:
    queues = flower.get("/api/queues/length")["active_queues"]
    assert [queue["name"] for queue in queues] == ["celery"]


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("/api/worker/pool/grow/{node}", {"n": 1}, "Growing"),
        ("/api/worker/pool/shrink/{node}", {"n": 1}, "Shrinking"),
        ("/api/worker/pool/restart/{node}", {}, "Restarting"),
        (
            "/api/task/timeout/fleet_tasks.add",
            {"workername": "{node}", "soft": 50, "hard": 60},
            "time limits set successfully",
        ),
    ],
)
def test_its_buttons_work(
    flower: Flower, node: str, path: str, form: dict[str, Any], said: str
) -> None:
    filled = {name: str(value).format(node=node) for name, value in form.items()}
    status, text = flower.press(path.format(node=node), **filled)
    assert status == 200, text
    assert said in text


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        (
            "/api/task/rate-limit/fleet_tasks.add",
            {"workername": "{node}", "ratelimit": "10/m"},
            "rate limits are not kept",
        ),
        ("/api/worker/pool/autoscale/{node}", {"min": 1, "max": 2}, "Autoscale not enabled"),
    ],
)
def test_what_a_worker_does_not_do_it_says(
    flower: Flower, node: str, path: str, form: dict[str, Any], said: str
) -> None:
    filled = {name: str(value).format(node=node) for name, value in form.items()}
    status, text = flower.press(path.format(node=node), **filled)
    assert (status, said in text) == (403, True), text


def test_it_terminates_a_task(flower: Flower, node: str, client: Client, worker: Program) -> None:
    held = client.ask("send", "hold", new_name())
    worker.wait_for(rf"hold\[{held}\] received")
    eventually(lambda: held in flower.get("/api/tasks"))
    status, text = flower.press(f"/api/task/revoke/{held}", terminate="true")
    assert status == 200, text
    eventually(lambda: flower.get("/api/tasks")[held]["state"] == "REVOKED")


def test_it_ends_a_worker(flower: Flower, node: str, shown: Fleet) -> None:
    with shown.worker("umbel", "-c", "1", queues="on-ending") as other:
        wait_ready(other)
        found = re.search(r"-n (\S+)", " ".join(other.words))
        assert found is not None
        name = found[1]
        eventually(lambda: name in flower.get("/api/workers?refresh=1"))
        status, text = flower.press(f"/api/worker/shutdown/{name}")
        assert (status, "Shutting down" in text) == (200, True), text
        assert other.wait() == 0
