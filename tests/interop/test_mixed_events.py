"""Events of an Umbel worker, as Celery's own monitor reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Program
from tests.interop.mixed_fleet import HOME, Fleet, wait_ready
from tests.redis_server import RedisServer
from umbel.testing.conformance.station import eventually

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
def lonely(server: RedisServer, celery_python: str) -> Iterator[Fleet]:
    """A fleet on a server of its own: channels belong to servers, not to databases."""
    fleet = Fleet(server, celery_python)
    yield fleet
    fleet.close()


@pytest.fixture
def dump(lonely: Fleet, celery_python: str) -> Iterator[Program]:
    """The real ``celery events --dump``, listening."""
    words = [celery_python, "-W", "ignore", "-m", "celery", "-b", lonely.broker_url]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CELERY", "UMBEL"))}
    with Program([*words, "events", "--dump"], cwd=HOME, env=env) as program:
        eventually(lambda: lonely.broker.pubsub_numpat() > 0)
        yield program


def test_celerys_monitor_reads_the_life_of_tasks_and_workers(lonely: Fleet, dump: Program) -> None:
    client = lonely.client("umbel")
    try:
        with lonely.worker("umbel", "-E", "-c", "2", queues="celery") as worker:
            wait_ready(worker)
            dump.wait_for(r"started: active=0")
            done = client.ask("send", "add", 4, 5)
            failed = client.ask("send", "fail", "builtin")
            dump.wait_for(rf"task received: fleet_tasks\.add\({done}\) args=\(4, 5\) kwargs=\{{\}}")
            dump.wait_for(rf"task started: fleet_tasks\.add\({done}\)")
            dump.wait_for(rf"task succeeded: fleet_tasks\.add\({done}\).*result=9, runtime=")
            error = r"exception=KeyError\('key', 42\)"
            dump.wait_for(rf"task failed: fleet_tasks\.fail\({failed}\).*{error}")
            dump.wait_for(r"heartbeat: active=0.*processed=2")
            assert worker.end() == 0
        dump.wait_for("shutdown")
    finally:
        client.close()


def test_without_e_only_the_worker_itself_is_told_of(lonely: Fleet, dump: Program) -> None:
    client = lonely.client("umbel")
    try:
        options = ["-c", "1", "--heartbeat-interval", "0.2"]
        with lonely.worker("umbel", *options, queues="celery") as worker:
            wait_ready(worker)
            assert client.call("add", 4, 5) == 9
            dump.wait_for(r"heartbeat: active=0.*freq=0\.2.*processed=1")
        assert "task " not in dump.output
    finally:
        client.close()
