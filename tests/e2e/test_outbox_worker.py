"""The outbox as a person uses it: a worker on Redis sends from it, and the commands show it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.worker_desk import PATIENCE, Desk
from tests.redis_server import RedisServer

pytestmark = pytest.mark.slow


@pytest.fixture
def desk(tmp_path: Path, redis_server: RedisServer) -> Iterator[Desk]:
    desk = Desk(tmp_path, redis_server.url(0), outbox_url=f"sqlite:///{tmp_path / 'shop.db'}")
    yield desk
    desk.close()


def umbel(desk: Desk, *words: str) -> tuple[int, str, str]:
    told = subprocess.run(
        [sys.executable, "-m", "umbel", "-A", "desk_tasks", *words],
        cwd=desk.home,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return told.returncode, told.stdout, told.stderr


def test_a_worker_sends_what_is_committed(desk: Desk) -> None:
    assert umbel(desk, "migrate")[0] == 0
    with desk.worker("-c", "1"):
        connection = sqlite3.connect(desk.home / "shop.db")
        lost = desk.tasks.add.delay_tx(connection, 1, 1)
        connection.rollback()
        sent = desk.tasks.add.delay_tx(connection, 2, 2)
        connection.commit()
        connection.close()
        assert sent.get(timeout=PATIENCE) == 4
        assert lost.state == "PENDING"


def test_a_worker_waits_for_the_table_and_says_so(desk: Desk) -> None:
    with desk.worker("-c", "1") as worker:
        worker.wait_for(r"The outbox waits: .* has no table 'umbel_outbox'.*umbel migrate")
        assert umbel(desk, "migrate")[0] == 0
        worker.wait_for("The outbox is sent again")


def test_the_commands(desk: Desk) -> None:
    status, _, told = umbel(desk, "outbox", "status")
    assert status == 1
    assert "has no table 'umbel_outbox', the outbox: make it with umbel migrate" in told
    status, told, _ = umbel(desk, "migrate")
    assert status == 0
    assert "0001 pre  outbox: applied now" in told
    assert "0001 pre  outbox: applied\n" in umbel(desk, "migrate")[1]
    connection = sqlite3.connect(desk.home / "shop.db")
    sent = desk.tasks.add.delay_tx(connection, 2, 2)
    connection.commit()
    status, told, _ = umbel(desk, "outbox", "status")
    assert status == 0
    assert "table umbel_outbox: 1 waiting, the oldest for" in told
    assert umbel(desk, "outbox", "relay", "--once")[:2] == (0, "Sent 1 task.\n")
    assert json.loads(umbel(desk, "outbox", "status", "--json")[1])["waiting"] == 0
    assert desk.stats() == (1, 0, 0)
    connection.execute(
        "INSERT INTO umbel_outbox (task_id, task, queue, message, created_at) "
        "VALUES ('odd', 't', 'q', x'00', 0)"
    )
    connection.commit()
    connection.close()
    assert umbel(desk, "outbox", "relay", "--once")[0] == 1
    status, told, _ = umbel(desk, "outbox", "status")
    assert status == 1
    assert "odd t for queue q: the row holds no message" in told
    assert "ENGINE=InnoDB" in umbel(desk, "outbox", "sql", "--for", "mysql")[1]
    assert sent.id


def test_without_an_outbox_the_setting_is_named(tmp_path: Path) -> None:
    desk = Desk(tmp_path, f"sqlite:///{tmp_path / 'broker.sqlite3'}")
    status, _, told = umbel(desk, "outbox", "status")
    assert (status, told.count("\n")) == (1, 1)
    assert "There is no outbox: set outbox_url" in told
    desk.close()
