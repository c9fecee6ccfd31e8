"""What a monitor makes of the events it hears."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from umbel.monitoring.cluster_state import State

_clock = itertools.count(1)


def task_event(kind, uuid="id-1", hostname="w1@here", **fields):
    clock = next(_clock)
    return {
        "type": f"task-{kind}",
        "uuid": uuid,
        "hostname": hostname,
        "clock": clock,
        "timestamp": 1000.0 + clock,
        **fields,
    }


def worker_event(kind, hostname="w1@here", ago=0.0, **fields):
    return {
        "type": f"worker-{kind}",
        "hostname": hostname,
        "freq": 2.0,
        "clock": next(_clock),
        "local_received": time.time() - ago,
        **fields,
    }


def after(*kinds, **fields):
    state = State()
    for kind in kinds:
        state.event(task_event(kind, **fields))
    return state.tasks["id-1"]


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (["sent"], "PENDING"),
        (["received"], "RECEIVED"),
        (["received", "started"], "STARTED"),
        (["received", "started", "succeeded"], "SUCCESS"),
        (["started", "failed"], "FAILURE"),
        (["started", "retried"], "RETRY"),
        (["started", "retried", "received"], "RECEIVED"),
        (["succeeded", "started"], "SUCCESS"),
        (["succeeded", "received"], "SUCCESS"),
        (["failed", "rejected"], "FAILURE"),
        (["started", "cancelled"], "CANCELLED"),
        (["revoked"], "REVOKED"),
    ],
)
def test_the_state_of_a_task(kinds, found):
    assert after(*kinds).state == found


def test_received_tells_what_the_task_is_even_when_it_comes_late():
    state = State()
    state.event(task_event("succeeded", result="9", runtime=0.25))
    state.event(task_event("received", name="add", args="(4, 5)", kwargs="{}", retries=0))
    task = state.tasks["id-1"]
    assert (task.state, task.name, task.args, task.result) == ("SUCCESS", "add", "(4, 5)", "9")
    assert task.ready
    assert task.worker.hostname == "w1@here"
    assert task.info(["name", "result", "exception"]) == {"name": "add", "result": "9"}
    assert task.as_dict()["worker"] == "w1@here"


def test_the_sender_is_the_client_and_not_the_worker():
    task = after("sent", hostname="gen7@there", queue="celery")
    assert (task.client, task.worker, task.queue) == ("gen7@there", None, "celery")


def test_fields_of_the_users_own_are_kept():
    assert after("halfway", done=50).extra == {"done": 50}


def test_an_event_cannot_overwrite_what_the_model_is_made_of():
    task = after("halfway", worker="mallory", state="SUCCESS", ready=True)
    assert task.state == "HALFWAY"
    assert task.worker.hostname == "w1@here"


def test_a_worker_is_alive_for_two_of_its_intervals():
    state = State()
    state.event(worker_event("heartbeat", ago=3.5, active=2, processed=7, sw_ident="umbel"))
    worker = state.workers["w1@here"]
    assert worker.alive
    assert (worker.active, worker.processed, worker.sw_ident) == (2, 7, "umbel")
    state.event(worker_event("heartbeat", "w2@here", ago=4.5))
    assert not state.workers["w2@here"].alive
    assert state.workers["w2@here"].status_string == "OFFLINE"
    assert [one.hostname for one in state.alive_workers()] == ["w1@here"]


def test_joining_and_leaving_are_told():
    told = []
    state = State(
        on_node_join=lambda worker: told.append(("join", worker.hostname)),
        on_node_leave=lambda worker: told.append(("leave", worker.hostname)),
    )
    for kind in ("online", "heartbeat", "offline"):
        state.event(worker_event(kind))
    assert told == [("join", "w1@here"), ("leave", "w1@here")]
    assert state.workers == {}


def test_the_callback_hears_of_everything():
    heard = []
    state = State(lambda state, event: heard.append(event["type"]))
    state.event(task_event("sent"))
    state.event(worker_event("online"))
    state.event({"type": "mine-own"})
    assert heard == ["task-sent", "worker-online", "mine-own"]
    assert state.event_count == 3


def test_the_oldest_are_forgotten():
    state = State(max_tasks_in_memory=3, max_workers_in_memory=1)
    for number in range(5):
        state.event(task_event("received", f"id-{number}", hostname=f"w{number}@here"))
    assert list(state.tasks) == ["id-2", "id-3", "id-4"]
    assert list(state.workers) == ["w4@here"]
    assert state.task_count == 5


def test_looking_by_time_type_and_worker():
    state = State()
    for uuid, name, node in (("a", "add", "w1"), ("b", "mul", "w1"), ("c", "add", "w2")):
        state.event(task_event("received", uuid, hostname=node, name=name))
    assert [uuid for uuid, _ in state.tasks_by_time()] == ["c", "b", "a"]
    assert [uuid for uuid, _ in state.tasks_by_time(limit=1, reverse=False)] == ["a"]
    assert [uuid for uuid, _ in state.tasks_by_type("add")] == ["c", "a"]
    assert [uuid for uuid, _ in state.tasks_by_worker("w1", limit=1)] == ["b"]
    assert state.task_types() == ["add", "mul"]


def test_forgetting_what_has_ended():
    state = State()
    state.event(task_event("succeeded", "done"))
    state.event(task_event("started", "runs"))
    state.event(worker_event("online"))
    assert state.freeze_while(lambda: len(state.tasks), clear_after=True) == 2
    assert list(state.tasks) == ["runs"]
    assert state.workers == {}
    state.clear_tasks(ready=False)
    assert state.tasks == {}


def test_nothing_changes_while_it_is_frozen():
    state = State()

    def look():
        thread = threading.Thread(target=state.event, args=(task_event("sent"),))
        thread.start()
        thread.join(0.05)
        return thread, len(state.tasks)

    thread, seen = state.freeze_while(look)
    thread.join()
    assert (seen, len(state.tasks)) == (0, 1)
