"""Calls cross between the libraries: {client, worker} x {Celery, Umbel}, whatever they carry.

Celery to Celery is among them: it shows that what a test expects is Celery's own behaviour.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from datetime import time as clock_time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, Notes, new_name, wait_ready

pytestmark = [pytest.mark.redis, pytest.mark.slow]

TAGGED = [
    datetime(2026, 3, 29, 1, 2, 3, 4, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 2, 3),  # noqa: DTZ001 - naive ones travel too
    date(2026, 2, 28),
    clock_time(23, 59, 58),
    Decimal("1.50"),
    UUID(int=5),
    b"text",
    b"\xff\x00\xfe",
]
PLAIN: list[Any] = [
    None,
    True,
    -1.5,
    2**70,
    "ünï\x00code 🎉",
    [1, [2, {"a": None}]],
    {"k": {"n": []}},
]
SERIALIZERS: dict[str, list[Any]] = {
    "json": [*PLAIN, *TAGGED, float("inf")],
    "pickle": [*PLAIN, *TAGGED, (1, 2), {1, 2}, 3 + 4j, {1: "one"}],
    "yaml": ["ünïcode 🎉", None, True, 1.5, 2**70, [1, [2]], date(2026, 2, 28), b"\xff\x00"],
    "msgpack": [None, True, -1.5, 2**60, "ünï\x00code 🎉", [1, [2, {"a": None}]], b"\xff\x00"],
}


def kinds(values: list[Any]) -> list[list[str]]:
    return [[type(value).__name__, repr(value)] for value in values]


def queue_of(library: str) -> str:
    return f"on-{library}"


def envelopes(fleet: Fleet, queue: str) -> list[dict[str, Any]]:
    """Read what lies in a queue of the first priority step, oldest first."""
    return [json.loads(raw) for raw in reversed(fleet.broker.lrange(queue, 0, -1))]


def test_arguments_and_keywords(client: Client, at: str) -> None:
    answer = client.call("echo", 1, "zwei", kwargs={"drei": [3], "ü": None}, queue=at)
    assert answer == [[1, "zwei"], {"drei": [3], "ü": None}]
    assert client.call("echo", queue=at) == [[], {}]


def test_each_worker_runs_what_is_in_its_queue(client: Client) -> None:
    assert [client.call("who", queue=queue_of(one)) for one in LIBRARIES] == list(LIBRARIES)


def test_without_a_queue_it_goes_where_both_take_from(client: Client) -> None:
    ids = [client.ask("send", "who") for _ in range(4)]
    assert set(client.ask("get_all", ids)) <= set(LIBRARIES)


def test_a_megabyte_there_and_back(client: Client, at: str) -> None:
    assert client.call("size", "ü" * 1_000_000, queue=at) == 1_000_000
    assert client.call("repeat", "ab", 500_000, queue=at) == "ab" * 500_000


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_serializers_carry_the_arguments(client: Client, at: str, serializer: str) -> None:
    values = SERIALIZERS[serializer]
    answer = client.call("kinds", *values, queue=at, serializer=serializer)
    assert answer == kinds(values)
    keywords = client.call("echo", kwargs={"ü": [1, "zwei"]}, queue=at, serializer=serializer)
    assert keywords == [[], {"ü": [1, "zwei"]}]


def test_tagged_types_come_back_in_results(client: Client, at: str) -> None:
    assert client.call("same", TAGGED, queue=at) == TAGGED


@pytest.mark.parametrize("compression", ["zlib", "gzip", "bzip2", "lzma", "brotli", "zstd"])
def test_compressed_bodies_are_read(client: Client, at: str, compression: str) -> None:
    assert client.call("size", "squeeze " * 9000, queue=at, compression=compression) == 72_000


def test_what_a_task_learns_of_its_call(client: Client, at: str) -> None:
    told = client.call(
        "request",
        1,
        kwargs={"k": "ü"},
        queue=at,
        headers={"x-custom": "mine"},
        priority=4,
        time_limit=30,
        soft_time_limit=20,
        shadow="shady",
    )
    assert told.pop("origin").startswith("gen")
    assert told.pop("now") > time.time() - 60
    assert told["correlation_id"] == told["root_id"] == told["id"]
    assert (
        told.items()
        >= {
            "parent_id": None,
            "retries": 0,
            "eta": None,
            "expires": None,
            "timelimit": [30, 20],
            "group": None,
            "shadow": "shady",
            "argsrepr": "(1,)",
            "kwargsrepr": "{'k': 'ü'}",
            "headers": {"x-custom": "mine"},
            "custom": "mine",
            "ignore_result": False,
            "is_eager": False,
            "called_directly": False,
            "task": "fleet_tasks.request",
            "args": [1],
            "kwargs": {"k": "ü"},
            "utc": None,
            "delivery_info": {
                "exchange": "",
                "routing_key": at,
                "priority": 4,
                "redelivered": False,
            },
            "library": at.removeprefix("on-"),
        }.items()
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_priorities_are_obeyed(client: Client, fleet: Fleet, notes: Notes, library: str) -> None:
    """Lower is more urgent on Redis; 4 is rounded down to the step 3."""
    queue = gate = new_name()
    ids = [client.ask("send", "priority", gate, queue=queue, priority=n) for n in (9, 6, 4, 3, 0)]
    lists = {step: fleet.broker.llen(f"{queue}\x06\x16{step}") for step in (3, 6, 9)}
    assert (fleet.broker.llen(queue), lists) == (1, {3: 2, 6: 1, 9: 1})
    # Prefetching would hand them to a pool in another order than it runs them.
    options = ("-c", "1", "-P", "solo")
    with fleet.worker(library, *options, queues=queue, worker_prefetch_multiplier=1):
        assert [notes.hear(gate) for _ in ids] == [0, 4, 3, 6, 9]
        assert client.ask("get_all", ids) == [9, 6, 4, 3, 0]


@pytest.mark.parametrize("how", ["countdown", "eta", "eta in Tokyo"])
def test_calls_for_later(client: Client, at: str, how: str) -> None:
    task_id, due = client.ask("send_later", 0.7, how, queue=at)
    told = client.ask("get", task_id)
    assert due - 0.01 <= told["now"] < due + 5
    assert datetime.fromisoformat(told["eta"]).timestamp() == pytest.approx(due, abs=0.2)


def test_a_call_for_later_waits_in_the_queue_where_celery_looks(
    client: Client, fleet: Fleet
) -> None:
    """Umbel could keep it in a place of its own, but then no Celery worker would run it."""
    queue = new_name()
    client.ask("send_later", 600, "countdown", queue=queue)
    (message,) = envelopes(fleet, queue)
    due = datetime.fromisoformat(message["headers"]["eta"])
    assert due.tzinfo is not None
    assert 500 < due.timestamp() - time.time() < 601


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_client_in_another_timezone(
    fleet: Fleet, clients: dict[str, Client], library: str
) -> None:
    client = fleet.client(library, timezone="Europe/Berlin")
    queues = [queue_of(one) for one in LIBRARIES]
    try:
        sent = [
            client.ask("send_later", 0.5, how, queue=queue)
            for how in ("countdown", "eta", "eta in Tokyo")
            for queue in queues
        ]
        for task_id, due in sent:
            assert due - 0.01 <= client.ask("get", task_id)["now"] < due + 5
        for queue in queues:
            live = client.ask("send", "who", queue=queue, expires=600)
            dead = client.ask("send", "who", queue=queue, expires=-600)
            assert client.ask("outcome", live)["state"] == "SUCCESS"
            assert client.ask("outcome", dead)["state"] == "REVOKED"
        unread = new_name()
        client.ask("send", "who", queue=unread, countdown=600, expires=700)
        (message,) = envelopes(fleet, unread)
        berlin = datetime.fromisoformat(message["headers"]["eta"]).utcoffset()
        assert berlin is not None
        assert berlin.total_seconds() in {3600, 7200}
    finally:
        client.close()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_worker_in_another_timezone(
    fleet: Fleet, clients: dict[str, Client], library: str
) -> None:
    queue = new_name()
    with fleet.worker(library, "-c", "1", queues=queue, timezone="Europe/Berlin") as worker:
        wait_ready(worker)
        for client in clients.values():
            task_id, due = client.ask("send_later", 0.3, "countdown", queue=queue)
            assert due - 0.01 <= client.ask("get", task_id)["now"] < due + 5
            done = client.ask("meta", task_id)["date_done"]
            assert done == pytest.approx(due, abs=5)


def test_expired_calls_are_revoked(client: Client, other: Client, at: str) -> None:
    task_id = client.ask("send", "who", queue=at, expires=-10)
    for reader in (client, other):
        told = reader.ask("outcome", task_id)
        assert told["state"] == "REVOKED"
        assert told["error"]["args"] == ["expired"]
        assert told["error"]["class"].endswith(".TaskRevokedError")


@pytest.mark.parametrize("library", ["celery"])
def test_protocol_1(fleet: Fleet, at: str, library: str) -> None:
    """What old Celery clients send: everything in the body."""
    client = fleet.client(library, task_protocol=1)
    try:
        queue = new_name()
        client.ask("send", "who", queue=queue)
        (message,) = envelopes(fleet, queue)
        assert "task" not in message["headers"]
        assert client.call("echo", 1, kwargs={"k": "ü"}, queue=at) == [[1], {"k": "ü"}]
        task_id, due = client.ask("send_later", 0.3, "countdown", queue=at)
        assert client.ask("get", task_id)["now"] >= due - 0.01
        dead = client.ask("send", "who", queue=at, expires=-600)
        assert client.ask("outcome", dead)["state"] == "REVOKED"
    finally:
        client.close()


def test_an_unknown_task_is_told_to_the_caller(client: Client, other: Client, at: str) -> None:
    task_id = client.ask("send_unknown", "no.such.task", queue=at)
    for reader in (client, other):
        told = reader.ask("outcome", task_id)
        assert told["state"] == "FAILURE"
        assert told["error"]["class"].endswith(".NotRegistered")
        assert told["error"]["args"] == ["no.such.task"]
