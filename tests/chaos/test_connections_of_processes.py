"""A worker and its client go on by themselves: half-open and cut connections, restarts, failover.

The worker is a process, the client waits for a result all the while; both reach Redis by a proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy
from tests.e2e.test_worker import until
from tests.e2e.worker_desk import PATIENCE, Desk
from tests.redis_server import RedisServer
from umbel.app.app import App
from umbel.testing.conformance.station import InThread

pytestmark = [pytest.mark.slow, pytest.mark.redis]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = RedisServer(persistent=True).start()
    yield made
    made.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


@pytest.fixture
def desk(tmp_path: Path, proxy: Proxy) -> Iterator[Desk]:
    # Short patience, so that the test is short: half a second for a reply, a look every 0.2 s.
    options = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "health_check_interval": 0.3}
    made = Desk(
        tmp_path,
        proxy.url(),
        broker_transport_options=options,
        result_backend_transport_options=options,
        worker_lease=3.0,
        worker_lease_renewal=0.2,
    )
    yield made
    made.close()


def test_worker_publisher_and_waiter_outlive_every_broken_connection(
    desk: Desk, proxy: Proxy, server: RedisServer
) -> None:
    with desk.worker("-c", "2") as worker:
        patient = desk.tasks.wait_for.delay("gate")
        waiter = InThread(lambda: patient.get(timeout=PATIENCE))
        until(lambda: bool(desk.lines("began-gate")), "the start")

        proxy.swallow()
        worker.wait_for(r"Trying again in")
        proxy.heal()
        assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2

        proxy.sever()
        assert desk.tasks.add.delay(2, 2).get(timeout=PATIENCE) == 4

        server.kill()
        worker.wait_for(r"cannot be reached|was lost")
        server.start()
        assert desk.tasks.add.delay(3, 3).get(timeout=PATIENCE) == 6

        desk.create("gate")
        assert waiter.result(PATIENCE) == "gate"
        assert worker.end() == 0
    assert len(desk.lines("began-gate")) == 1
    assert desk.stats() == (0, 0, 0)


def test_a_worker_moves_to_the_next_server_and_leaves_no_task_behind(
    tmp_path: Path, server: RedisServer
) -> None:
    """Several URLs: the first server dies, the second one takes over with what is sent there."""
    second = RedisServer().start()
    both = f"{server.url()};{second.url()}"
    desk = Desk(tmp_path, both, second.url(), worker_lease=3.0, worker_lease_renewal=0.2)
    direct = App("direct", broker=second.url(), backend=second.url())
    try:
        with desk.worker("-c", "1") as worker:
            assert desk.tasks.add.delay(1, 1).get(timeout=PATIENCE) == 2
            server.kill()
            sent = direct.send_task("desk_tasks.add", (2, 3))
            assert sent.get(timeout=PATIENCE) == 5
            assert worker.end() == 0
    finally:
        desk.close()
        direct.close()
        second.close()
