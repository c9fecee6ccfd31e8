"""Workflows that run partly on Celery's workers and partly on Umbel's, over RabbitMQ.

Messages travel by RabbitMQ, results and the counts of headers rest in Redis: what a Celery worker
counts and what Umbel's do is one count. Sent by either client.
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


def queue_of(library: str) -> str:
    return f"on-{library}"


@pytest.fixture(scope="module")
def fleet(celery_python: str) -> Iterator[Fleet]:
    server, host = RedisServer().start(), VirtualHost()
    fleet = Fleet(server, celery_python, broker_url=host.url())
    yield fleet
    fleet.close()
    host.close()
    server.close()


@pytest.fixture(scope="module")
def workers(fleet: Fleet) -> Iterator[dict[str, Program]]:
    with contextlib.ExitStack() as stack:
        started = {
            library: stack.enter_context(
                fleet.worker(library, "-c", "2", queues=f"{queue_of(library)},celery")
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


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"then-{library}")
def then(request: pytest.FixtureRequest) -> str:
    """The queue of the body."""
    return queue_of(request.param)


MIXES = ["celery umbel celery umbel"]


@pytest.mark.parametrize("mix", MIXES)
def test_a_chord_over_both(client: Client, then: str, mix: str) -> None:
    members, body = client.ask("send_chord", [queue_of(one) for one in mix.split()], then)
    values = list(range(2, 2 + len(members)))
    assert client.ask("get_all", members) == values
    assert client.ask("get", body) == values


@pytest.mark.parametrize("mix", MIXES)
def test_everything_in_everything(client: Client, mix: str) -> None:
    queues = [queue_of(one) for one in mix.split()] * (4 // len(mix.split()))
    last = client.ask("send_nested", queues)
    assert client.ask("get", last) == [[3, 4], [11, 21]]


@pytest.mark.parametrize("mix", MIXES)
def test_a_chord_whose_header_fails(client: Client, then: str, mix: str, notes: Notes) -> None:
    name = new_name()
    queues = [queue_of(one) for one in mix.split()]
    body = client.ask("send_broken_chord", queues, then, name)
    assert client.ask("outcome", body)["state"] == "FAILURE"
    assert notes.hear(name) == [then.removeprefix("on-"), body]


@pytest.mark.parametrize("route", ["umbel celery umbel", "celery umbel celery"])
def test_a_chain_over_both(client: Client, clients: dict[str, Client], route: str) -> None:
    where = route.split()
    steps = [
        ("add_where", ([1], 10) if index == 0 else (10,), queue_of(library))
        for index, library in enumerate(where)
    ]
    ids = client.ask("send_chain", steps)
    for reader in clients.values():
        assert reader.ask("get", ids[0]) == [31, *where]
