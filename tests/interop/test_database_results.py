"""Results in SQL tables cross between the libraries, from and to each.

Messages go over Redis. What lies in a row is compared column by column, whoever wrote it. Workers
run beside one database; in the others it is programs that write and read.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests import mariadb_server, postgres_server
from tests.e2e.processes import Program
from tests.interop.mixed_fleet import LIBRARIES, Client, Fleet, Notes, new_name, wait_ready
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SETTINGS = {"result_extended": True, "result_chord_retry_interval": 0.2}


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path_factory.mktemp('results') / 'results.db'}"
        elif request.param == "postgresql":
            url = stack.enter_context(postgres_server.database("interop"))
            yield url.replace("postgresql://", "postgresql+psycopg://", 1)
        else:
            url = stack.enter_context(mariadb_server.database("interop"))
            yield url.replace("mysql://", "mysql+pymysql://", 1)


WITH_WORKERS = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def fleet(database: str, celery_python: str) -> Iterator[Fleet]:
    server = RedisServer().start()
    fleet = Fleet(server, celery_python, results_url=f"db+{database}")
    yield fleet
    fleet.close()
    server.close()


@pytest.fixture(scope="module")
def workers(fleet: Fleet) -> Iterator[dict[str, Program]]:
    """One worker of each library, on a queue of its own and on one they share."""
    with contextlib.ExitStack() as stack:
        started = {
            library: stack.enter_context(
                fleet.worker(library, "-c", "2", queues=f"on-{library},celery", **SETTINGS)
            )
            for library in LIBRARIES
        }
        for worker in started.values():
            wait_ready(worker)
        yield started


@pytest.fixture(scope="module")
def clients(fleet: Fleet) -> Iterator[dict[str, Client]]:
    with contextlib.ExitStack() as stack:
        started = {}
        for library in LIBRARIES:
            started[library] = fleet.client(library, **SETTINGS)
            stack.callback(started[library].close)
        yield started


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"from-{library}")
def client(request: pytest.FixtureRequest, clients: dict[str, Client]) -> Client:
    return clients[request.param]


@pytest.fixture(params=LIBRARIES, ids=lambda library: f"at-{library}")
def at(request: pytest.FixtureRequest, workers: dict[str, Program]) -> str:
    """The queue only the worker of this library takes from."""
    return f"on-{request.param}"


@pytest.fixture
def readers(client: Client, clients: dict[str, Client]) -> list[Client]:
    """Who sent it, and a client of the other library."""
    return [client, *(each for each in clients.values() if each is not client)]


@pytest.fixture
def notes(fleet: Fleet) -> Notes:
    return fleet.notes


@pytest.mark.parametrize("state", ["PROGRESS", "SUCCESS"])
def test_a_program_writes_and_another_reads(
    readers: list[Client], database: str, state: str
) -> None:
    value, task_id, other_id = {"text": "\u00e9", "list": [None, 1.5, True]}, new_name(), new_name()
    readers[0].ask("store", task_id, state, value)
    readers[1].ask("store", other_id, state, value)
    for reader in readers:
        told = reader.ask("meta", task_id)
        assert (told["state"], told["info"]) == (state, value)
    one, two = (row_of(database, each) for each in (task_id, other_id))
    assert (one.pop("date_done") is None) == (two.pop("date_done") is None) == (state != "SUCCESS")
    # Of no run, Celery says that it was never retried, and Umbel says nothing.
    del one["retries"], two["retries"]
    assert one == two


@WITH_WORKERS
def test_values(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "echo", "\u00e9\u2028", None, [1.5], kwargs={"k": {}}, queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert told["value"] == [["\u00e9\u2028", None, [1.5]], {"k": {}}]
        assert (told["state"], told["flags"]) == ("SUCCESS", (True, True, False))
        assert (told["traceback"], told["children"]) == (None, [])
        assert (told["name"], told["queue"], told["retries"]) == ("fleet_tasks.echo", at, 0)
        assert (told["args"], told["kwargs"]) == (["\u00e9\u2028", None, [1.5]], {"k": {}})
        assert told["worker"].startswith(at.removeprefix("on-"))


@WITH_WORKERS
def test_exceptions(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "fail", "nested", queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert (told["state"], told["flags"]) == ("FAILURE", (True, False, True))
        assert told["error"]["class"] == "fleet_tasks.Outer.Inner"
        assert told["error"]["args"] == ["text", 7]
        assert told["traceback"].startswith("Traceback (most recent call last):\n")


@WITH_WORKERS
def test_children(client: Client, readers: list[Client], at: str) -> None:
    task_id = client.ask("send", "parent_of", at, 2, queue=at)
    for reader in readers:
        told = reader.ask("outcome", task_id)
        assert len(told["children"]) == 2
        assert reader.ask("get_all", told["children"]) == [0, 1]


@WITH_WORKERS
def test_states_on_the_way(client: Client, readers: list[Client], at: str, notes: Notes) -> None:
    gate = new_name()
    task_id = client.ask("send", "progress", gate, queue=at)
    notes.hear(f"began:{gate}")
    for reader in readers:
        assert reader.ask("meta", task_id)["info"] == {"done": 3, "of": 7}
    notes.open(gate)
    assert client.ask("get", task_id) == at.removeprefix("on-")


def test_groups_are_saved_by_one_and_restored_by_the_other(readers: list[Client]) -> None:
    group, ids = new_name(), [new_name(), new_name()]
    readers[0].ask("save_group", group, ids)
    for reader in readers:
        assert reader.ask("restore_group", group) == ids
        assert reader.ask("restore_group", new_name()) is None


@WITH_WORKERS
def test_forgotten_by_one_is_unknown_to_the_other(readers: list[Client], at: str) -> None:
    task_id = readers[0].ask("send", "add", 1, 2, queue=at)
    assert readers[0].ask("get", task_id) == 3
    assert readers[1].ask("forget", task_id) == "PENDING"
    assert readers[0].ask("meta", task_id)["state"] == "PENDING"


@WITH_WORKERS
def test_a_chord_over_both(client: Client, at: str) -> None:
    """Sent by either; whoever takes the message that looks at the header sends the body."""
    queues = [f"on-{library}" for library in LIBRARIES] * 2
    members, body = client.ask("send_chord", queues, at)
    assert client.ask("get", body) == [2, 3, 4, 5]
    assert client.ask("get_all", members) == [2, 3, 4, 5]


@WITH_WORKERS
def test_everything_in_everything(client: Client, workers: dict[str, Program]) -> None:
    last = client.ask("send_nested", [f"on-{library}" for library in LIBRARIES])
    assert client.ask("get", last) == [[3, 4], [11, 21]]


@WITH_WORKERS
def test_a_chord_whose_header_fails(client: Client, at: str, notes: Notes) -> None:
    name = new_name()
    body = client.ask("send_broken_chord", ["on-celery", "on-umbel"], at, name)
    assert client.ask("outcome", body)["state"] == "FAILURE"
    assert notes.hear(name)[1] == body


CALLS: Mapping[str, tuple[str, list[Any], dict[str, Any]]] = {
    "value": ("echo", ["\u00e9", 2**40, None], {"kwargs": {"x": [True]}}),
    "failure": ("fail", ["builtin"], {}),
    "nested": ("fail", ["nested"], {}),
    "unwritable": ("unserialisable", [], {}),
    "header": ("same", [1], {"headers": {"x-custom": "1"}}),
}


@WITH_WORKERS
@pytest.mark.parametrize("kind", CALLS)
def test_a_row_is_the_same_whoever_wrote_it(
    kind: str, clients: dict[str, Client], database: str, workers: dict[str, Program]
) -> None:
    task, args, options = CALLS[kind]
    ids = {
        library: clients["celery"].ask("send", task, *args, queue=f"on-{library}", **options)
        for library in LIBRARIES
    }
    for task_id in ids.values():
        clients["celery"].ask("outcome", task_id)
    rows = {library: row_of(database, task_id) for library, task_id in ids.items()}
    ours, theirs = rows["umbel"], rows["celery"]
    for library, row in rows.items():
        assert str(row.pop("worker")).startswith(library)
        assert row.pop("queue") == f"on-{library}"
        assert row.pop("date_done") is not None
    assert (ours.pop("traceback") is None) == (theirs.pop("traceback") is None)
    if kind == "unwritable":  # its words are the library's own
        assert ours.pop("result").keys() == theirs.pop("result").keys()
    assert ours == theirs


def row_of(database: str, task_id: str) -> dict[str, Any]:
    """Return what lies in the table; bytes, which are JSON with or without blanks, decoded."""
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        statement = sqlalchemy.text("SELECT * FROM celery_taskmeta WHERE task_id = :id")
        row = dict(connection.execute(statement, {"id": task_id}).mappings().one())
    engine.dispose()
    del row["id"], row["task_id"]
    return {
        name: json.loads(value) if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def test_either_makes_the_same_tables(celery_python: str, tmp_path: Path) -> None:
    found = []
    server = RedisServer().start()
    for library in LIBRARIES:
        place = f"sqlite:///{tmp_path / library}.db"
        fleet = Fleet(server, celery_python, results_url=f"db+{place}")
        client = fleet.client(library)
        client.ask("restore_group", "none")
        client.close()
        fleet.close()
        engine = sqlalchemy.create_engine(place)
        with engine.connect() as connection:
            statement = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
            rows = connection.exec_driver_sql(statement).all()
            found.append([" ".join(row[0].split()) for row in rows])
        engine.dispose()
    server.close()
    assert found[0] == found[1]
