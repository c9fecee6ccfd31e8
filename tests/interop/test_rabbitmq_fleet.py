"""Calls cross between the libraries on RabbitMQ: {client, worker} x {Celery, Umbel} x results.

Results are in Redis or come by ``rpc://``. Celery to Celery is among them: it shows that what a
test expects is Celery's own behaviour.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.e2e.processes import Program
from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, Notes, new_name, wait_ready
from tests.rabbitmq_broker import VirtualHost
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.rabbitmq, pytest.mark.redis, pytest.mark.slow]


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[VirtualHost]:
    host = VirtualHost()
    yield host
    host.close()


@pytest.fixture(scope="module", params=["redis", "rpc"], ids=lambda kind: f"results-{kind}")
def fleet(
    request: pytest.FixtureRequest, rabbitmq: VirtualHost, celery_python: str
) -> Iterator[Fleet]:
    server = RedisServer().start()
    results = "rpc://" if request.param == "rpc" else None
    fleet = Fleet(server, celery_python, broker_url=rabbitmq.url(), results_url=results)
    yield fleet
    fleet.close()
    server.close()


@pytest.fixture(scope="module")
def workers(fleet: Fleet) -> Iterator[dict[str, Program]]:
    """One worker of each library, on a queue of its own and on one they share."""
    with contextlib.ExitStack() as stack:
        started = {
            library: stack.enter_context(
                fleet.worker(library, "-c", "2", queues=f"on-{library},celery")
            )
            for library in LIBRARIES
        }
        for worker in started.values():
            wait_ready(worker)
        yield started


@pytest.fixture(scope="module")
def clients(fleet: Fleet, workers: dict[str, Program]) -> Iterator[dict[str, Client]]:
    with contextlib.ExitStack() as stack:
        started = {}
        for library in LIBRARIES:
            started[library] = fleet.client(library)
            stack.callback(started[library].close)
        yield started


def test_arguments_and_unicode(client: Client, at: str) -> None:
    answer = client.call("echo", 1, "zwei 🎉", kwargs={"drei": [3], "ü": None}, queue=at)
    assert answer == [[1, "zwei 🎉"], {"drei": [3], "ü": None}]


def test_a_megabyte_there_and_back(client: Client, at: str) -> None:
    assert client.call("size", "ü" * 1_000_000, queue=at) == 1_000_000
    assert client.call("repeat", "ab", 500_000, queue=at) == "ab" * 500_000


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "msgpack"])
def test_serializers_carry_the_arguments(client: Client, at: str, serializer: str) -> None:
    value = {"a": [1, None, "ü", 2.5, True]}
    assert client.call("same", value, queue=at, serializer=serializer) == value


@pytest.mark.parametrize("compression", ["gzip", "bzip2"])
def test_compressed_bodies_are_read(client: Client, at: str, compression: str) -> None:
    assert client.call("size", "squeeze " * 9000, queue=at, compression=compression) == 72_000


def test_what_a_task_learns_of_its_call(client: Client, at: str) -> None:
    told = client.call(
        "request",
        1,
        queue=at,
        headers={"x-custom": "mine"},
        priority=4,
        time_limit=30,
        soft_time_limit=20,
        shadow="shady",
    )
    assert told["correlation_id"] == told["root_id"] == told["id"]
    assert (told["custom"], told["shadow"], told["timelimit"]) == ("mine", "shady", [30, 20])
    assert told["delivery_info"]["routing_key"] == at
    assert told["delivery_info"]["priority"] == 4


@pytest.mark.parametrize("how", ["countdown", "eta", "eta of elsewhere"])
def test_what_is_for_later_waits(client: Client, at: str, how: str) -> None:
    task_id, due = client.ask("send_later", 1.0, how, at)
    assert client.ask("get", task_id)["now"] >= due - 0.01


def test_what_has_expired_is_revoked(client: Client, at: str) -> None:
    if client.library == "celery":
        pytest.skip("RabbitMQ drops what Celery sends with an expiry, and nobody hears of it")
    told = client.ask("outcome", client.ask("send", "who", queue=at, expires=-1))
    assert told["state"] == "REVOKED"


@pytest.mark.parametrize("kind", ["builtin", "nested", "hidden"])
def test_exceptions_arrive(client: Client, at: str, kind: str, fleet: Fleet) -> None:
    told = client.ask("outcome", client.ask("send", "fail", kind, queue=at))
    names = {"builtin": "KeyError", "nested": "Inner", "hidden": "HiddenError"}
    assert told["error"]["class"].endswith(names[kind])
    if fleet.results_url != "rpc://" or client.library == "umbel":
        # Celery's client can read a result of rpc:// once only.
        assert told["state"] == "FAILURE"


def test_a_retry_comes_back(client: Client, at: str, notes: Notes) -> None:
    gate = new_name()
    task_id = client.ask("send", "retry_at_gate", gate, queue=at)
    notes.open(gate)
    assert client.ask("get", task_id)


def test_links_are_followed(client: Client, at: str, notes: Notes) -> None:
    across = "on-celery" if at == "on-umbel" else "on-umbel"
    gate = new_name()
    links = [["retry_at_gate", [], across]]
    task_id = client.ask("send_linked", "same", [gate], at, links, [])
    assert client.ask("get", task_id) == gate
    notes.open(gate)
    assert notes.hear(f"try:{gate}") == [0, across.removeprefix("on-")]


def test_both_workers_drain_one_queue_once_each(client: Client, fleet: Fleet) -> None:
    first = 1000 * LIBRARIES.index(client.library)
    ids = client.ask("send_many", first, first + 300, "celery")
    answers = client.ask("get_all", ids)
    assert [number for number, _ in answers] == list(range(first, first + 300))
    assert {library for _, library in answers} == set(LIBRARIES)
    runs = fleet.notes.redis.hmget("ran", *range(first, first + 300))
    assert {int(times) for times in runs} == {1}
