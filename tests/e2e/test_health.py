"""Health over HTTP, asked of real workers: busy, cut off from the broker, ending, misconfigured."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import needed
from tests.e2e.processes import PATIENCE, Program
from tests.e2e.test_worker import until
from tests.e2e.worker_desk import Desk
from tests.redis_server import RedisServer

BURNING = '''
import hashlib
from desk_tasks import HOME, app, note


@app.task
def burn(how: str) -> int:
    """Keep a processor busy until a file is there: in bytecode, or in C."""
    note("burning")
    count = 0
    while not (HOME / "enough").exists():
        if how == "C":
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 20000)
        else:
            for n in range(20000):
                count += n * n
    return count
'''


class Caller:
    """Asks one worker."""

    def __init__(self, worker: Program) -> None:
        text = worker.wait_for(r"Health and metrics at \S+")
        found = re.search(r"Health and metrics at (\S+):(\d+)", text)
        assert found is not None
        self.host, self.port = found[1], int(found[2])

    def ask(self, path: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        return answer.status, json.loads(body) if body.startswith("{") else body

    def status(self, path: str) -> int:
        return self.ask(path)[0]


def at(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'store.sqlite3'}"


def test_health_answers_while_every_slot_burns(tmp_path):
    desk = Desk(tmp_path, at(tmp_path))
    (tmp_path / "burning.py").write_text(BURNING, encoding="utf-8")
    with desk.worker("-c", "2", "-I", "burning", "--http", "127.0.0.1:0") as worker:
        caller = Caller(worker)
        until(lambda: caller.status("/readyz") == 200, "readyz 200")
        desk.tasks.add.delay(1, 2).get(timeout=PATIENCE)
        for how in ("Python", "C"):
            desk.app.send_task("burning.burn", args=(how,))
        until(lambda: len(desk.lines("burning")) == 2, "two burn")
        took = []
        for _ in range(40):
            begin = time.monotonic()
            assert caller.status("/livez") == 200
            assert caller.status("/readyz") == 200
            took.append((time.monotonic() - begin) / 2)
        print(f"median {sorted(took)[20] * 1000:.1f} ms, longest {max(took) * 1000:.1f} ms")
        status, text = caller.ask("/metrics")
        assert status == 200
        assert 'umbel_tasks_total{state="SUCCESS"} 1.0' in text
        assert 'umbel_task_run_seconds_count{task="desk_tasks.add"} 1.0' in text
        assert "umbel_messages_claimed_total 3.0" in text
        assert "umbel_executors_ready 2.0" in text
        assert 'umbel_queue_claimed{queue="celery"}' in text
        assert "umbel_schedule_lag_seconds 0.0" in text
        assert caller.status("/nowhere") == 404
        desk.create("enough")
        assert worker.end() == 0
    desk.close()


def test_a_worker_that_ends_is_live_and_not_ready(tmp_path):
    desk = Desk(tmp_path, at(tmp_path))
    with desk.worker("-c", "1", "--http", "127.0.0.1:0") as worker:
        caller = Caller(worker)
        desk.tasks.wait_for.delay("go")
        until(lambda: bool(desk.lines("began-go")), "it began")
        worker.signal(signal.SIGTERM)
        worker.wait_for("Warm shutdown")
        until(lambda: caller.status("/readyz") == 503, "readyz 503")
        assert caller.ask("/readyz")[1]["reasons"] == ["the worker is shutting down"]
        assert caller.status("/livez") == 200
        desk.create("go")
        assert worker.wait() == 0
    desk.close()


def test_a_broker_that_is_away_makes_it_not_ready_and_stays_live(tmp_path):
    if shutil.which("redis-server") is None:
        needed("redis-server")
    server = RedisServer().start()
    try:
        desk = Desk(tmp_path, server.url())
        with desk.worker("-c", "1", "--http", "127.0.0.1:0") as worker:
            caller = Caller(worker)
            until(lambda: caller.status("/readyz") == 200, "readyz 200")
            server.kill()
            until(lambda: caller.status("/readyz") == 503, "readyz 503")
            assert caller.ask("/readyz")[1]["reasons"] == ["not connected to the broker"]
            assert caller.status("/livez") == 200
            assert "umbel_broker_connected 0.0" in caller.ask("/metrics")[1]
        desk.close()
    finally:
        server.close()


def test_an_address_that_is_taken_ends_the_worker_with_a_sentence(tmp_path):
    desk = Desk(tmp_path, at(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with desk.worker("-c", "1", "--http", where, ready=False) as worker:
            assert worker.wait() != 0
            assert f"cannot listen on {where}: Address already in use" in worker.output
            assert "Traceback" not in worker.output
    with desk.worker("-c", "1", "--http", "9100", ready=False) as worker:
        assert worker.wait() != 0
        assert "worker_http (--http) is '9100', which has no port" in worker.output
    desk.close()


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_unix_socket_answers_and_is_taken_away(tmp_path, left_behind):
    path = tmp_path / "health.sock"
    if left_behind:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    desk = Desk(tmp_path, at(tmp_path))
    with desk.worker("-P", "solo", "--http", f"unix:{path}") as worker:
        worker.wait_for("Health and metrics at unix:")
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            with caller.makefile("rb") as file:
                assert b" 200 " in file.readline()
        assert worker.end() == 0
    assert not path.exists()
    desk.close()


def test_silent_callers_do_not_keep_others_from_an_answer(tmp_path):
    desk = Desk(tmp_path, at(tmp_path))
    with desk.worker("-c", "1", "--http", "127.0.0.1:0") as worker:
        caller = Caller(worker)
        silent = [socket.create_connection((caller.host, caller.port)) for _ in range(8)]
        answers: list[int] = []
        asking = threading.Thread(target=lambda: answers.append(caller.status("/livez")))
        asking.start()
        asking.join(PATIENCE)
        assert answers == [200]
        for each in silent:
            each.close()
    desk.close()
