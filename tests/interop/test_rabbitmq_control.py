"""Events and remote control between Celery and Umbel over RabbitMQ, in both directions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Program
from tests.interop.mixed_fleet import HOME, LIBRARIES, OURS, Fleet, wait_ready
from tests.rabbitmq_broker import VirtualHost
from tests.redis_server import RedisServer
from umbel.testing.conformance.station import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.redis, pytest.mark.slow]


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[VirtualHost]:
    host = VirtualHost()
    yield host
    host.close()


@pytest.fixture(scope="module")
def fleet(rabbitmq: VirtualHost, celery_python: str) -> Iterator[Fleet]:
    server = RedisServer().start()
    fleet = Fleet(server, celery_python, broker_url=rabbitmq.url())
    yield fleet
    fleet.close()
    server.close()


@pytest.fixture(params=LIBRARIES)
def program(request: pytest.FixtureRequest, celery_python: str) -> list[str]:
    """The command line of each library."""
    if request.param == "celery":
        return [celery_python, "-W", "ignore", "-m", "celery"]
    return [sys.executable, "-m", "umbel"]


def environment(program: list[str]) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CELERY", "UMBEL"))}
    return env | ({"PYTHONPATH": os.pathsep.join(OURS)} if "umbel" in program else {})


def node_of(worker: Program) -> str:
    found = re.search(r"-n (\S+)", " ".join(worker.words))
    assert found is not None
    return found[1]


def test_each_finds_the_workers_of_both(fleet: Fleet, program: list[str]) -> None:
    def ask(*words: str) -> dict[str, object]:
        ran = subprocess.run(
            [*program, "-b", fleet.broker_url, "inspect", *words, "--json", "-t", "5"],
            cwd=HOME,
            env=environment(program),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.stdout.strip(), ran.stderr
        return dict(json.loads(ran.stdout))

    with (
        fleet.worker("umbel", "-c", "1", queues="on-umbel") as ours,
        fleet.worker("celery", "-c", "1", queues="on-celery") as theirs,
    ):
        names = {node_of(wait_ready(ours)), node_of(wait_ready(theirs))}
        eventually(lambda: set(ask("ping", "-d", ",".join(names))) == names, patience=60)
        there = ask("registered", "-d", ",".join(names))
        assert set(there) == names
        assert all("fleet_tasks.add" in str(told) for told in there.values())


def test_celerys_monitor_reads_an_umbel_workers_events(
    fleet: Fleet, rabbitmq: VirtualHost, celery_python: str
) -> None:
    program = [celery_python, "-W", "ignore", "-m", "celery"]
    client = fleet.client("umbel")
    words = [*program, "-b", fleet.broker_url, "events", "--dump"]
    try:
        with Program(words, cwd=HOME, env=environment(program)) as dump:
            eventually(lambda: any("celeryev." in row[0] for row in rabbitmq.queues("name")))
            with fleet.worker("umbel", "-E", "-c", "1", queues="celery") as worker:
                wait_ready(worker)
                dump.wait_for(r"started: active=0")
                done = client.ask("send", "add", 4, 5)
                dump.wait_for(rf"task received: fleet_tasks\.add\({done}\) args=\(4, 5\)")
                dump.wait_for(rf"task succeeded: fleet_tasks\.add\({done}\).*result=9, runtime=")
                assert worker.end() == 0
            dump.wait_for("shutdown")
    finally:
        client.close()
