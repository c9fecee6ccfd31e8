"""Bad input on a live worker: it is told, set aside, and loses nothing beside it."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.conftest import needed
from tests.e2e.processes import PATIENCE, RedisServer
from tests.e2e.worker_desk import Desk
from tests.redis_server import RedisServer as RestartableServer
from umbel.errors import BackendUnavailable, BrokerUnavailable, EncodeError, OperationalError

BODY = [[1, 2], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]


def envelope(**changes: Any) -> dict[str, Any]:
    """A message as a Celery client sends it, with some parts changed; None takes a part out."""
    headers = {"lang": "py", "task": "desk_tasks.add", "id": "bad-1", "retries": 0}
    message: dict[str, Any] = {
        "body": base64.b64encode(json.dumps(changes.pop("content", BODY)).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": {
            "correlation_id": "bad-1",
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": "tag-1",
            "body_encoding": "base64",
            "priority": 0,
        },
    }
    headers.update(changes.pop("headers", {}))
    message.update(changes)
    message["headers"] = {k: v for k, v in message["headers"].items() if v is not None}
    return {k: v for k, v in message.items() if v is not None}


TOLD = {
    # what is wrong: (the message, whether the caller can be told by its id)
    "the envelope is not JSON": (b"not an envelope", False),
    "the envelope is a list": (b"[1, 2, 3]", False),
    "the envelope is empty": (b"{}", False),
    "the body is not JSON": (envelope(body="bm90IGpzb24="), True),
    "the body is not base64": (envelope(body="%%%"), True),
    "the body has two elements": (envelope(content=[[1, 2], {}]), True),
    "the body is a number": (envelope(content=5), True),
    "kwargs are not a mapping": (envelope(content=[[1, 2], [3], {}]), True),
    "the content type is missing": (envelope(**{"content-type": None}), True),
    "the content type is not accepted": (
        envelope(**{"content-type": "application/x-python-serialize"}),
        True,
    ),
    "the content type is unknown": (envelope(**{"content-type": "text/x-nothing"}), True),
    "the id is missing": (envelope(headers={"id": None}), False),
    "the id is not a text": (envelope(headers={"id": 5}), False),
    "the task is missing": (envelope(headers={"task": None}), False),
    "the eta cannot be read": (envelope(headers={"eta": "tomorrow"}), False),
    "an unknown tagged type": (
        envelope(content=[[{"__type__": "spaceship", "__value__": 1}, 2], {}, {}]),
        True,
    ),
    "an unknown compression": (envelope(headers={"compression": "application/x-wish"}), True),
}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    if shutil.which("redis-server") is None:
        needed("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture
def desk(server: RedisServer, tmp_path: Path) -> Iterator[Desk]:
    with redis.Redis(port=server.port, db=2) as client:
        client.flushall()
    desk = Desk(tmp_path, server.url(2), server.url(1))
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def put(server: RedisServer):
    client = redis.Redis(port=server.port, db=2)

    def put(message: bytes | dict[str, Any], queue: str = "celery") -> None:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        client.lpush(queue, raw)

    yield put
    client.close()


@pytest.mark.parametrize("wrong", sorted(TOLD))
def test_a_bad_message_is_set_aside_and_the_good_one_behind_it_runs(desk, put, wrong):
    message, told = TOLD[wrong]
    put(message)
    good = desk.tasks.add.delay(4, 5)
    with desk.worker("-c", "1") as worker:
        assert good.get(timeout=PATIENCE) == 9
        worker.wait_for("set aside")
        if told:
            bad = desk.app.AsyncResult("bad-1")
            with pytest.raises(Exception, match=r".+"):
                bad.get(timeout=PATIENCE)
            assert bad.state == "FAILURE"
        assert worker.end() == 0
    assert desk.stats() == (0, 0, 0)


def test_all_bad_messages_at_once_lose_none_of_a_hundred_good_ones(desk, put):
    good = []
    for number in range(100):
        good.append(desk.tasks.add.delay(number, number))
        message, _ = TOLD[sorted(TOLD)[number % len(TOLD)]]
        put(message)
    with desk.worker("-c", "2") as worker:
        assert [each.get(timeout=PATIENCE) for each in good] == [2 * n for n in range(100)]
        worker.wait_for("set aside", count=100)
        assert worker.end() == 0


def test_an_argument_that_cannot_be_written_is_refused_where_it_is_given(desk):
    with pytest.raises(EncodeError, match="object"):
        desk.tasks.add.delay(object(), 1)


def test_wrong_arguments_are_refused_where_they_are_given(desk):
    with pytest.raises(TypeError, match=r"desk_tasks\.add"):
        desk.tasks.add.delay(1)


def test_a_broker_that_is_down_is_told_within_the_deadline(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    desk = Desk(tmp_path, f"redis://:secret@127.0.0.1:{port}/0", broker_publish_timeout=1.0)
    try:
        began = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=str(port)) as caught:
            desk.tasks.add.delay(1, 2)
        assert time.monotonic() - began < 3.0
        assert isinstance(caught.value, OperationalError)
        assert "secret" not in str(caught.value)
    finally:
        desk.close()


def test_a_result_store_that_is_down_is_told_and_the_task_is_kept(server, tmp_path):
    with RedisServer() as results:
        url = results.url(0)
        desk = Desk(tmp_path, server.url(3), url)
        try:
            result = desk.tasks.add.delay(4, 5)
            assert result.state == "PENDING"
            port = results.port
            results.__exit__(None, None, None)
            with pytest.raises((BackendUnavailable, TimeoutError)):
                desk.app.AsyncResult("some-id").get(timeout=0.5)
            with desk.worker("-c", "1", ready=False) as worker:
                worker.wait_for(f"127.0.0.1:{port}")
                worker.signal(signal.SIGTERM)
                worker.wait()
            assert sum(desk.stats()) == 1
        finally:
            desk.close()


def test_a_worker_outlives_a_broker_that_comes_goes_and_comes_back(tmp_path):
    broker = RestartableServer(persistent=True)
    desk = Desk(tmp_path, broker.url(0))
    try:
        with desk.worker("-c", "1", ready=False) as worker:
            worker.wait_for("Trying again")
            broker.start()
            assert desk.tasks.add.delay(1, 2).get(timeout=PATIENCE) == 3
            running = desk.tasks.wait_for.delay("gate")
            worker.wait_for(r"desk_tasks\.wait_for\S+ received")
            broker.kill()
            worker.wait_for("Trying again", count=2)
            desk.create("gate")
            broker.start()
            assert running.get(timeout=PATIENCE) == "gate"
            assert desk.tasks.add.delay(3, 4).get(timeout=PATIENCE) == 7
            assert len(desk.lines("began-gate")) == 1
            assert worker.end() == 0
    finally:
        desk.close()
        broker.close()


def test_a_worker_without_any_broker_ends_when_asked(tmp_path):
    with RedisServer() as server:
        url = server.url(0)
    desk = Desk(tmp_path, url)
    try:
        with desk.worker("-c", "1", ready=False) as worker:
            worker.wait_for("Trying again")
            assert worker.end() == 0
    finally:
        desk.close()
