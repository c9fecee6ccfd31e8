"""Both libraries' workers on one broker: nothing is run twice, stolen or lost.

Workers that are killed have databases of their own, since every worker restores what the dead left
in the whole database.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, new_name, wait_ready
from tests.redis_server import RedisServer
from umbel.testing.conformance.station import eventually

pytestmark = [pytest.mark.redis, pytest.mark.slow]

LATE = {"task_acks_late": True, "worker_prefetch_multiplier": 1}
LOAD = 2_000


@pytest.fixture
def lonely_fleet(fleet_server: RedisServer, celery_python: str) -> Iterator[Fleet]:
    """A fleet on databases nobody else uses, emptied before."""
    fleet = Fleet(fleet_server, celery_python, first_database=8)
    for one in (fleet.broker, fleet.results, fleet.notes.redis):
        one.flushdb()
    yield fleet
    fleet.close()


def hold_as_celery(fleet: Fleet, client: Client, queue: str) -> str:
    """Put a message where a Celery worker keeps what it was delivered just now; return its id."""
    task_id: str = client.ask("send", "who", queue="elsewhere")
    message = json.loads(fleet.broker.rpop("elsewhere"))
    message["properties"]["delivery_info"]["routing_key"] = queue
    fleet.broker.hset("unacked", task_id, json.dumps([message, "", queue]))
    fleet.broker.zadd("unacked_index", {task_id: time.time()})
    return task_id


def restoring(seconds: float) -> dict[str, Any]:
    """The settings with which a worker restores, soon, what a dead Celery worker held."""
    options = {
        "visibility_timeout": seconds,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
    return {**LATE, "broker_transport_options": options}


def test_one_load_drained_by_both(fleet: Fleet, clients: dict[str, Client]) -> None:
    """Every task once, whoever sent it; every result read by both."""
    queue, half = new_name(), LOAD // 2
    counted = fleet.notes.redis
    counted.delete("ran", "where")
    ids = clients["celery"].ask("send_many", 0, half, queue)
    ids += clients["umbel"].ask("send_many", half, LOAD, queue)
    with (
        fleet.worker("celery", "-c", "2", queues=queue, **LATE) as theirs,
        fleet.worker("umbel", "-c", "2", queues=queue, **LATE) as ours,
    ):
        wait_ready(theirs)
        wait_ready(ours)
        for client in clients.values():
            results = client.ask("get_all", ids)
            assert [number for number, _ in results] == list(range(LOAD))
            assert {where for _, where in results} == set(LIBRARIES)
    assert set(Counter(counted.hvals("ran"))) == {b"1"}
    assert counted.hlen("ran") == LOAD
    assert fleet.broker.llen(queue) == 0


def test_a_long_task_of_ours_is_never_stolen(lonely_fleet: Fleet) -> None:
    """A Celery worker hands out again what is not acknowledged after 2 s; ours runs for 6."""
    fleet = lonely_fleet
    queue, gate = new_name(), new_name()
    with fleet.worker("umbel", "-c", "1", queues=queue, **restoring(2)) as ours:
        wait_ready(ours)
        client = fleet.client("celery")
        try:
            task_id = client.ask("send", "late", gate, queue=queue)
            assert fleet.notes.hear(f"began:{gate}")[0] == "umbel"
            with fleet.worker("celery", "-P", "solo", queues=queue, **restoring(2)) as theirs:
                wait_ready(theirs)
                # What lies in its own place for 2 s it does hand out again: so it sweeps.
                for _ in range(2):
                    bait = hold_as_celery(fleet, client, queue)
                    assert client.ask("get", bait) == "celery"
                assert fleet.notes.silent(f"began:{gate}")
                fleet.notes.open(gate)
                assert client.ask("get", task_id) == "umbel"
        finally:
            client.close()
    assert fleet.notes.hear(f"ended:{gate}") == "umbel"
    assert fleet.notes.silent(f"began:{gate}")


def test_what_a_killed_celery_worker_held_is_run_by_ours(lonely_fleet: Fleet) -> None:
    fleet = lonely_fleet
    queue, gate = new_name(), new_name()
    client = fleet.client("celery")
    try:
        greedy = {**restoring(3600), "worker_prefetch_multiplier": 4}
        with fleet.worker("celery", "-c", "1", queues=queue, **greedy) as theirs:
            wait_ready(theirs)
            ids = [client.ask("send", "late", gate, queue=queue) for _ in range(3)]
            first = fleet.notes.hear(f"began:{gate}")
            assert first[0] == "celery"
            # It runs one and holds the others: none is in the queue any more.
            eventually(lambda: fleet.broker.hlen("unacked") == 3)
            theirs.signal(signal.SIGKILL)
            os.kill(first[1], signal.SIGKILL)
            theirs.wait()
        fleet.notes.open(gate, times=3)
        with fleet.worker("umbel", "-c", "1", queues=queue, **restoring(1)) as ours:
            wait_ready(ours)
            assert client.ask("get_all", ids) == ["umbel"] * 3
        runs = [fleet.notes.hear(f"began:{gate}") for _ in ids]
        assert sorted(run[3] for run in runs) == sorted(ids)
        assert [run[2] for run in runs] == [True] * 3, "they know that they were delivered before"
        assert fleet.broker.exists("unacked", "unacked_index") == 0
    finally:
        client.close()


def test_what_a_killed_worker_of_ours_held_is_run_by_another(lonely_fleet: Fleet) -> None:
    """While a Celery worker runs beside, which knows nothing of our claims."""
    fleet = lonely_fleet
    queue, gate = new_name(), new_name()
    soon = {"worker_lease": 2.0, "worker_lease_renewal": 0.5}
    client = fleet.client("celery")
    try:
        with fleet.worker("celery", "-P", "solo", queues=new_name(), **restoring(2)) as theirs:
            wait_ready(theirs)
            with fleet.worker("umbel", "-c", "2", queues=queue, **LATE, **soon) as dying:
                wait_ready(dying)
                ids = [client.ask("send", "late", gate, queue=queue) for _ in range(2)]
                began = [fleet.notes.hear(f"began:{gate}") for _ in ids]
                assert [run[0] for run in began] == ["umbel"] * 2
                dying.signal(signal.SIGKILL)
                dying.wait()
            with fleet.worker("umbel", "-c", "2", queues=queue, **LATE, **soon) as ours:
                wait_ready(ours)
                again = [fleet.notes.hear(f"began:{gate}") for _ in ids]
                assert sorted(run[3] for run in again) == sorted(ids)
                assert [run[2] for run in again] == [True, True]
                fleet.notes.open(gate, times=4)
                assert client.ask("get_all", ids) == ["umbel"] * 2
    finally:
        client.close()


def test_a_warm_end_leaves_the_rest_to_the_other(lonely_fleet: Fleet) -> None:
    """Either gives back what it has not begun, and the other runs it."""
    fleet = lonely_fleet
    for library, heir in (("celery", "umbel"), ("umbel", "celery")):
        queue, gate = new_name(), new_name()
        client = fleet.client(heir)
        try:
            with fleet.worker(library, "-c", "1", queues=queue, **LATE) as leaving:
                wait_ready(leaving)
                ids = [client.ask("send", "late", gate, queue=queue) for _ in range(5)]
                assert fleet.notes.hear(f"began:{gate}")[0] == library
                leaving.signal(signal.SIGTERM)
                leaving.wait_for("[Ww]arm shutdown")
                fleet.notes.open(gate, times=5)
                assert leaving.wait() == 0
            with fleet.worker(heir, "-c", "1", queues=queue, **LATE) as staying:
                wait_ready(staying)
                ran = client.ask("get_all", ids)
        finally:
            client.close()
        assert Counter(ran) == {library: 1, heir: 4}


def test_a_countdown_waits_in_either_worker_and_outlives_it(lonely_fleet: Fleet) -> None:
    """Ending warm loses neither.

    A Celery worker holds it unacknowledged and gives it back. Ours gives it a place in the store,
    which only workers of ours look at.
    """
    fleet = lonely_fleet
    queues = {library: new_name() for library in LIBRARIES}
    client = fleet.client("celery")
    try:
        with contextlib.ExitStack() as stack:
            leaving = [
                stack.enter_context(fleet.worker(library, "-c", "1", queues=queue, **LATE))
                for library, queue in queues.items()
            ]
            for worker in leaving:
                wait_ready(worker)
            ids = [
                client.ask("send_later", 5, "countdown", queue=queue)[0]
                for queue in queues.values()
            ]
            eventually(lambda: fleet.broker.exists(*queues.values()) == 0)
            for worker in leaving:
                worker.signal(signal.SIGTERM)
            assert [worker.wait() for worker in leaving] == [0, 0]
        with fleet.worker("umbel", "-c", "1", queues=",".join(queues.values()), **LATE) as heir:
            wait_ready(heir)
            assert [told["library"] for told in client.ask("get_all", ids)] == ["umbel"] * 2
    finally:
        client.close()


def test_what_lies_in_the_queue_is_what_celery_writes(fleet: Fleet) -> None:
    """Field for field, the same call of either client."""
    messages: dict[str, dict[str, Any]] = {}
    for library in LIBRARIES:
        client = fleet.client(library)
        try:
            queue = new_name()
            client.ask("send", "echo", 1, queue=queue, kwargs={"k": "ü"}, expires=60, priority=0)
            (raw,) = fleet.broker.lrange(queue, 0, -1)
        finally:
            client.close()
        messages[library] = json.loads(raw)
    theirs, ours = messages["celery"], messages["umbel"]
    assert set(ours) == set(theirs)
    for part in ("headers", "properties"):
        assert {name: type(value) for name, value in ours[part].items()} == {
            name: type(value) for name, value in theirs[part].items()
        }
    assert opened(ours) == opened(theirs)


def opened(message: dict[str, Any]) -> Any:
    """Return what is in the body: spaces and escapes may differ."""
    return json.loads(base64.b64decode(message["body"]))
