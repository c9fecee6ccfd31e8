"""Results cross between the libraries: each reads what the other's worker stored.

The worker stores, the client that sent it reads, and so does a client of the other library.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, Notes, new_name, wait_ready

pytestmark = [pytest.mark.redis, pytest.mark.slow]


CLASSES = {"celery": "billiard.exceptions.", "umbel": "umbel.errors."}
"""Where each library has the errors of time limits and lost processes."""


def key(task_id: str) -> str:
    return f"celery-task-meta-{task_id}"


@pytest.fixture
def readers(client: Client, other: Client) -> list[Client]:
    """Who sent it, and a client of the other library."""
    return [client, other]


def test_success(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "add", 2, 3, queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["value"] == 5
        assert (told["state"], told["flags"]) == ("SUCCESS", (True, True, False))
        assert (told["traceback"], told["children"]) == (None, [])
        assert told["date_done"] == pytest.approx(time.time(), abs=10)
        # Only what result_extended adds.
        assert {told[name] for name in ("name", "args", "kwargs", "worker", "queue")} == {None}


def test_a_builtin_exception(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "builtin", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert (told["state"], told["flags"]) == ("FAILURE", (True, False, True))
        assert told["error"]["class"] == "builtins.KeyError"
        assert told["error"]["args"] == ["key", 42]
        assert told["traceback"].startswith("Traceback (most recent call last):\n")
        assert told["traceback"].endswith("KeyError: ('key', 42)\n")
        assert "in fail" in told["traceback"]


def test_a_nested_class(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "nested", queue=at)
    for reader in readers:
        error = reader.ask("outcome", task_id)["error"]
        assert error["class"] == "fleet_tasks.Outer.Inner"
        assert error["known"]
        assert error["args"] == ["text", 7]


def test_arguments_no_serializer_takes(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "unwritable", queue=at)
    for reader in readers:
        error = reader.ask("outcome", task_id)["error"]
        assert (error["class"], error["args"]) == (
            "builtins.ValueError",
            ["first", "<unwritable>"],
        )


def test_a_class_the_reader_does_not_know(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "hidden", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"].endswith("HiddenError")
        assert "Exception" in told["error"]["bases"]
        assert told["error"]["args"] == ["nobody else knows me", 3]


def test_a_cause_is_in_the_traceback(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "chained", queue=at)
    for reader in readers:
        text = reader.ask("outcome", task_id)["traceback"]
        assert text.index("ValueError: first") < text.index("RuntimeError: second")


def test_rejected_for_good(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "reject", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"].endswith(".Reject")
        assert told["error"]["args"][0] == "not this one"


def test_ignored_stays_what_it_was(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "ignore", queue=at)
    client.call("who", queue=at)
    for reader in readers:
        assert reader.ask("meta", task_id)["state"] == "PENDING"


def test_a_result_no_serializer_takes(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "unserialisable", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert "EncodeError" in told["error"]["class"]


def test_retry_is_seen_while_it_lasts(
    client: Client, readers: list[Client], at: str, notes: Notes
) -> None:
    gate = new_name()
    task_id = client.ask("send", "retry_at_gate", gate, queue=at)
    library = at.removeprefix("on-")
    for reader in readers:
        told = reader.ask("wait_state", task_id, "RETRY")
        assert told["flags"] == (False, False, False)
        assert told["info"]["class"] == "builtins.ValueError"
        assert told["info"]["args"][0] == "not yet"
        assert "Retry in 1" in told["traceback"]
        assert told["date_done"] is None
        assert told["children"] == [task_id]
    notes.open(gate)
    assert notes.hear(f"try:{gate}") == [0, library]
    for reader in readers:
        retries, where = reader.ask("get", task_id)
        assert (retries >= 1, where) == (True, library)


def test_retries_that_run_out(client: Client, readers: list[Client], at: str) -> None:
    wanted = {
        "retry_in_vain": ("builtins.LookupError", ["never", 2]),
        "retry_by_itself": ("builtins.OSError", ["disk", at.removeprefix("on-")]),
    }
    for task, (kind, args) in wanted.items():
        task_id = client.ask("send", task, queue=at)
        for reader in readers:
            told = reader.ask("outcome", task_id)
            assert told["state"] == "FAILURE"
            assert (told["error"]["class"], told["error"]["args"]) == (kind, args)
    task_id = client.ask("send", "retry_without_reason", queue=at)
    for reader in readers:
        error = reader.ask("outcome", task_id)["error"]
        assert error["class"].endswith(".MaxRetriesExceededError")
        assert f"Can't retry fleet_tasks.retry_without_reason[{task_id}]" in error["text"]


def test_a_custom_state(client: Client, readers: list[Client], at: str, notes: Notes) -> None:
    gate = new_name()
    task_id = client.ask("send", "progress", gate, queue=at)
    notes.hear(f"began:{gate}")
    for reader in readers:
        told = reader.ask("meta", task_id)
        assert (told["state"], told["info"]) == ("PROGRESS", {"done": 3, "of": 7})
        assert told["flags"] == (False, False, False)
    notes.open(gate)
    for reader in readers:
        assert reader.ask("outcome", task_id)["state"] == "SUCCESS"


def test_started(client: Client, readers: list[Client], at: str, notes: Notes) -> None:
    gate = new_name()
    task_id = client.ask("send", "tracked", gate, queue=at)
    _, pid = notes.hear(f"began:{gate}")
    for reader in readers:
        told = reader.ask("wait_state", task_id, "STARTED")
        assert told["info"]["pid"] == pid
        assert told["info"]["hostname"].startswith(at.removeprefix("on-"))
        assert told["info"]["hostname"].endswith("@fleet")
    notes.open(gate)
    assert client.ask("get", task_id) == at.removeprefix("on-")


def test_results_that_nobody_wants(
    client: Client, readers: list[Client], at: str, fleet: Fleet, notes: Notes
) -> None:
    """By the task, by the call; and a failure of a call that wants none."""
    name = new_name()
    by_task = client.ask("send", "ignored", name, queue=at)
    by_call = client.ask("send", "noted", name, queue=at, ignore_result=True)
    failed = client.ask("send", "fail", "builtin", queue=at, ignore_result=True)
    notes.hear(name)
    notes.hear(name)
    client.call("who", queue=at)
    for task_id in (by_task, by_call, failed):
        assert fleet.results.exists(key(task_id)) == 0
        assert [reader.ask("meta", task_id)["state"] for reader in readers] == ["PENDING"] * 2


def test_the_hard_time_limit(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "busy", 30, queue=at, time_limit=1)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"] == CLASSES[reader.library] + "TimeLimitExceeded"
        assert told["error"]["args"] == [1]


def test_the_soft_time_limit(client: Client, readers: list[Client], at: str) -> None:
    caught = client.ask("send", "soft", 30, queue=at, soft_time_limit=0.5)
    uncaught = client.ask("send", "busy", 30, queue=at, soft_time_limit=0.5)
    for reader in readers:
        assert reader.ask("get", caught) == "cleaned up"
        told = reader.ask("outcome", uncaught)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"] == CLASSES[reader.library] + "SoftTimeLimitExceeded"
        assert "in busy" in told["traceback"]


def test_a_process_that_dies(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "die", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"] == CLASSES[reader.library] + "WorkerLostError"
        assert "signal 9 (SIGKILL)" in told["error"]["text"]


def test_results_expire(client: Client, at: str, fleet: Fleet) -> None:
    task_id = client.ask("send", "who", queue=at)
    client.ask("get", task_id)
    assert 86_000 < fleet.results.ttl(key(task_id)) <= 86_400


def test_forget(client: Client, other: Client, at: str, fleet: Fleet) -> None:
    task_id = client.ask("send", "who", queue=at)
    client.ask("get", task_id)
    assert other.ask("outcome", task_id)["state"] == "SUCCESS"
    assert client.ask("forget", task_id) == "PENDING"
    assert fleet.results.exists(key(task_id)) == 0


def test_children_and_parent(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "parent_of", at, 2, queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert len(told["children"]) == 2
        assert reader.ask("get_all", told["children"]) == [0, 1]


def test_a_task_that_returns_a_handle(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "spawn", at, queue=at)
    for reader in readers:
        told = reader.ask("returned_handle", task_id)
        assert told["value"] == 42
        assert told["raw"] is not None


def test_a_late_reader_and_an_early_one(client: Client, other: Client, at: str) -> None:
    """Waiting for a result that comes, and reading one that has been there for long."""
    task_id = client.ask("send", "who", queue=at, countdown=0.3)
    assert other.ask("get", task_id) == client.ask("get", task_id)
    assert client.ask("get", task_id) == at.removeprefix("on-")


@pytest.mark.parametrize("library", LIBRARIES)
def test_settings_of_the_worker_that_clients_see(
    fleet: Fleet, clients: dict[str, Client], library: str
) -> None:
    """What is stored, how, and for how long."""
    queue = new_name()
    settings: dict[str, Any] = {
        "result_extended": True,
        "result_expires": 100,
        "result_failure_expires": 50,
        "result_compression": "gzip",
    }
    with fleet.worker(library, "-P", "solo", queues=queue, **settings) as worker:
        wait_ready(worker)
        for client in clients.values():
            task_id = client.ask("send", "echo", 1, kwargs={"k": "ü"}, queue=queue)
            for reader in clients.values():
                told = reader.ask("outcome", task_id)
                assert told["name"] == "fleet_tasks.echo"
                assert list(told["args"]) == [1]
                assert told["kwargs"] == {"k": "ü"}
                assert told["worker"].startswith(library)
                assert (told["retries"], told["queue"]) == (0, queue)
            assert 50 < fleet.results.ttl(key(task_id)) <= 100
            assert fleet.results.get(key(task_id)).startswith(b"\x00celery-compressed\x00")
            failed = client.ask("send", "fail", "builtin", queue=queue)
            for reader in clients.values():
                assert reader.ask("outcome", failed)["error"]["args"] == ["key", 42]
            assert 0 < fleet.results.ttl(key(failed)) <= 50


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_serializers_of_results(fleet: Fleet, library: str, serializer: str) -> None:
    queue = new_name()
    readers = [fleet.client(one, result_serializer=serializer) for one in LIBRARIES]
    try:
        with fleet.worker(
            library, "-P", "solo", queues=queue, result_serializer=serializer
        ) as worker:
            wait_ready(worker)
            for client in readers:
                value = [None, True, 1.5, "ü", {"k": [b"\xff"]}]
                done = client.ask("send", "same", value, queue=queue, serializer="pickle")
                failed = client.ask("send", "fail", "nested", queue=queue)
                for reader in readers:
                    assert reader.ask("get", done) == value
                    error = reader.ask("outcome", failed)["error"]
                    assert error["class"] == "fleet_tasks.Outer.Inner"
                    assert error["args"] == ["text", 7]
    finally:
        for reader in readers:
            reader.close()


def test_revoked_before_it_runs(clients: dict[str, Client], fleet: Fleet, notes: Notes) -> None:
    """Whoever sent it and whoever waits: Umbel keeps a revocation, and its worker obeys.

    Celery's revoke is a broadcast to the workers that run just then, so a Celery worker that starts
    later, as this one does, knows nothing of it. Umbel does not speak that broadcast yet.
    """
    queue, name = new_name(), new_name()
    ids = [client.ask("send", "noted", name, queue=queue) for client in clients.values()]
    for task_id in ids:
        clients["umbel"].ask("revoke", task_id)
    with fleet.worker("umbel", "-P", "solo", queues=queue) as worker:
        wait_ready(worker)
        for task_id in ids:
            for reader in clients.values():
                told = reader.ask("outcome", task_id)
                assert told["state"] == "REVOKED"
                assert told["error"]["args"] == ["revoked"]
                assert told["error"]["class"].endswith(".TaskRevokedError")
    assert notes.silent(name)
