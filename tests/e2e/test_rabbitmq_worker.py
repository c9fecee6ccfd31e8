"""What a worker on RabbitMQ owes to who waits for results by ``rpc://``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.worker_desk import Desk
from tests.rabbitmq_broker import VirtualHost

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    host = VirtualHost()
    desk = Desk(tmp_path, host.url(), "rpc://")
    yield desk
    desk.close()
    host.close()


def test_every_result_of_a_workflow_comes_to_who_sent_it(desk: Desk) -> None:
    add = desk.tasks.add
    called = add.s(5)
    called.freeze()
    with desk.worker("-c", "2"):
        last = (add.s(1, 2) | add.s(3) | add.s(4)).apply_async()
        assert last.get(timeout=30) == 10
        assert last.parent.get(timeout=30) == 6
        assert last.parent.parent.get(timeout=30) == 3
        assert add.apply_async((1, 2), link=called).get(timeout=30) == 3
        assert desk.app.AsyncResult(called.id).get(timeout=30) == 8
