"""Celery's result tables keep every promise, in each database; and what is theirs alone."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests import mariadb_server, postgres_server
from tests.redis_server import free_port
from umbel import Umbel
from umbel.app.storing import make_record
from umbel.drivers.celery_tables import CeleryTablesDriver
from umbel.drivers.celery_tables.result_backend import TableResultBackend
from umbel.drivers.opening import open_backend, open_broker
from umbel.errors import (
    BackendUnavailable,
    ContentDisallowed,
    ImproperlyConfigured,
    TaskError,
)
from umbel.model.outcome import ResultRecord
from umbel.ports import ResultBackend
from umbel.schedules import crontab
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.station import InThread, new_id, record
from umbel.wire.result_row import ResultRow, dump_row, load_row

PLACES = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="module", params=PLACES)
def place(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an empty database, as result_backend has it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"db+sqlite:///{tmp_path_factory.mktemp('results') / 'results.db'}"
        elif request.param == "postgresql":
            yield f"db+{stack.enter_context(postgres_server.database('tables'))}"
        else:
            url = stack.enter_context(mariadb_server.database("tables"))
            yield f"db+{url.replace('mysql://', 'mysql+pymysql://', 1)}"


@pytest.fixture
def backend(place: str) -> Iterator[TableResultBackend]:
    backend = CeleryTablesDriver(place, {}).result_backend()
    yield backend
    backend.close()


@pytest.fixture
def app(place: str) -> Iterator[Umbel]:
    app = Umbel("shop", broker=f"memory://{new_id()}", backend=place, set_as_current=False)
    app.conf.update(accept_content=["json", "pickle", "yaml", "msgpack"])
    yield app
    app.close()


class TestCeleryTables(ResultBackendSuite):
    """A document of the suite is what the column ``result`` holds."""

    @pytest.fixture
    def backend(self, backend: TableResultBackend) -> TableResultBackend:
        return backend

    @pytest.fixture
    def unreachable_backend(self, place: str) -> Iterator[TableResultBackend]:
        if "sqlite" in place:
            url = "db+sqlite:////no/such/folder/results.db"
        else:
            url = f"{place.partition('://')[0]}://nobody@127.0.0.1:{free_port()}/none"
        backend = CeleryTablesDriver(url, {}).result_backend()
        yield backend
        backend.close()

    def record(
        self,
        task_id: str,
        state: str = "SUCCESS",
        *,
        document: bytes | None = None,
        expires: float | None = None,
    ) -> ResultRecord:
        done = datetime.now(UTC).replace(tzinfo=None).isoformat()
        row = ResultRow(status=state, result=b"null" if document is None else document)
        if state in {"SUCCESS", "FAILURE", "REVOKED"}:
            row = ResultRow(status=state, result=row.result, date_done=done)
        return record(task_id, state, document=dump_row(row), expires=expires)

    def same(self, found: bytes, stored: bytes) -> bool:
        return load_row(found).result == stored

    def test_documents_are_any_bytes(self, backend: ResultBackend) -> None:
        size = 200 if "MariaDB" in backend.ping() else 4000  # a BLOB of its ends at 64 kB
        task_id, document = new_id(), bytes(range(256)) * size
        backend.store([self.record(task_id, "FAILURE", document=document)])
        assert self.same(backend.fetch([task_id])[task_id].document, document)


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", ["json", "pickle", "yaml", "msgpack"])
def test_values_come_back_by_every_serializer(app: Umbel, serializer: str) -> None:
    app.conf.update(result_serializer=serializer, result_extended=True)
    good, bad, group = new_id(), new_id(), new_id()
    value = {"list": [1, 2.5, None], "text": "\u00e9\u2028"}
    app.result_backend.store(
        [
            make_record(app, task_id=good, state="SUCCESS", result=value),
            make_record(app, task_id=bad, state="FAILURE", result=KeyError("k"), traceback="TB"),
        ]
    )
    before = datetime.now(UTC)
    found = app.AsyncResult(good)
    assert found.get(timeout=10) == value
    assert found.date_done is not None
    assert abs(found.date_done - before) < timedelta(minutes=1)
    with pytest.raises(KeyError) as caught:
        app.AsyncResult(bad).get(timeout=10)
    assert caught.value.args == ("k",)
    assert app.AsyncResult(bad).traceback == "TB"
    app.GroupResult(group, [app.AsyncResult(good), app.AsyncResult(bad)]).save()
    restored = app.GroupResult.restore(group)
    assert restored is not None
    assert [each.id for each in restored.results] == [good, bad]


def test_times_are_the_wall_clock_of_the_app(app: Umbel, place: str) -> None:
    app.conf.update(timezone="Asia/Tokyo")
    task_id = new_id()
    app.result_backend.store([make_record(app, task_id=task_id, state="SUCCESS", result=1)])
    with sqlalchemy.create_engine(place.removeprefix("db+")).connect() as connection:
        statement = sqlalchemy.text("SELECT date_done FROM celery_taskmeta WHERE task_id = :id")
        stored = connection.execute(statement, {"id": task_id}).scalar()
    connection.engine.dispose()
    stored = datetime.fromisoformat(str(stored))
    assert abs(stored - datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=9)) < timedelta(
        minutes=1
    )
    done = app.AsyncResult(task_id).date_done
    assert done is not None
    assert abs(done - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_value_that_does_not_fit_ends_as_a_failure_that_says_so(app: Umbel, place: str) -> None:
    if "mysql" not in place:
        pytest.skip("columns of this database take a gigabyte")
    big, small = new_id(), new_id()
    app.result_backend.store(
        [
            make_record(app, task_id=big, state="SUCCESS", result="x" * 70_000),
            make_record(app, task_id=small, state="SUCCESS", result=2),
        ]
    )
    assert app.AsyncResult(small).get(timeout=10) == 2
    with pytest.raises(TaskError, match=r"70002 bytes, SUCCESS.*does not fit.*LONGBLOB"):
        app.AsyncResult(big).get(timeout=10)


def test_the_cleanup_task_goes_by_result_expires(
    app: Umbel, caplog: pytest.LogCaptureFixture
) -> None:
    fresh, stale = new_id(), new_id()
    then = (datetime.now(UTC) - timedelta(days=2)).replace(tzinfo=None).isoformat()
    old = ResultRow(status="SUCCESS", result=b"1", date_done=then)
    app.result_backend.store(
        [
            make_record(app, task_id=fresh, state="SUCCESS", result=1),
            record(stale, document=dump_row(old)),
        ]
    )
    cleanup = app.tasks["celery.backend_cleanup"]
    for keep in (None, 0, 3 * 86400.0):
        app.conf.update(result_expires=keep)
        cleanup()
        assert app.AsyncResult(stale).state == "SUCCESS"
    app.conf.update(result_expires=86400.0)
    with caplog.at_level(logging.INFO, "umbel.app"):
        cleanup()
    assert "older than 86400 s are deleted: 1 rows" in caplog.text
    assert app.AsyncResult(stale).state == "PENDING"
    assert app.AsyncResult(fresh).state == "SUCCESS"


def test_a_scheduler_cleans_up_at_night(app: Umbel) -> None:
    entry = app.periodic.all()["celery.backend_cleanup"]
    assert entry.task == "celery.backend_cleanup"
    assert entry.schedule == crontab(minute="0", hour="4")
    app.conf.update(result_expires=None)
    assert "celery.backend_cleanup" not in app.periodic.all()
    app.conf.update(result_expires=60, result_backend="redis://localhost/0")
    assert "celery.backend_cleanup" not in app.periodic.all()


# --- pickles of old releases ----------------------------------------------------------------------


def test_a_pickle_is_opened_only_where_it_is_accepted(app: Umbel) -> None:
    import pickle

    task_id = new_id()
    row = ResultRow(status="SUCCESS", result=pickle.dumps({"old": 1}, protocol=2))
    app.result_backend.store([record(task_id, document=dump_row(row))])
    assert app.AsyncResult(task_id).get(timeout=10) == {"old": 1}
    app.conf.update(accept_content=["json"])
    with pytest.raises(ContentDisallowed, match="add 'pickle' to result_accept_content"):
        app.AsyncResult(task_id).get(timeout=10)
    app.conf.update(result_accept_content=["json", "pickle"])
    assert app.AsyncResult(task_id).get(timeout=10) == {"old": 1}


# --- tables ---------------------------------------------------------------------------------------


def test_many_make_the_tables_at_once(place: str) -> None:
    names = {"task": f"t_{new_id()[:8]}", "group": f"g_{new_id()[:8]}"}
    backends = [CeleryTablesDriver(place, {"table_names": names}).result_backend() for _ in "1234"]
    ready = threading.Barrier(4)

    def work(backend: TableResultBackend) -> int:
        ready.wait(10)
        return len(backend.fetch(["x"]))

    working = [InThread(lambda one=each: work(one)) for each in backends]  # type: ignore[misc]
    assert [each.result() for each in working] == [0, 0, 0, 0]
    for each in backends:
        each.close()


def test_many_write_one_id_at_once(place: str) -> None:
    ids = [new_id() for _ in range(20)]
    backends = [CeleryTablesDriver(place, {}).result_backend() for _ in "123"]
    row = dump_row(ResultRow(status="FAILURE", result=b"null"))
    ready = threading.Barrier(3)

    def work(backend: TableResultBackend, order: int) -> None:
        ready.wait(10)
        backend.store([record(task_id, "FAILURE", document=row) for task_id in ids[::order]])

    working = [
        InThread(lambda one=each, order=order: work(one, order))  # type: ignore[misc]
        for each, order in zip(backends, (1, -1, 1), strict=True)
    ]
    for each in working:
        each.result()
    assert set(backends[0].fetch(ids)) == set(ids)
    for backend in backends:
        backend.close()


def test_columns_that_an_older_release_did_not_have_are_added(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, task_id VARCHAR(155) UNIQUE, "
            "status VARCHAR(50), result BLOB, date_done DATETIME, traceback TEXT)"
        )
        old.execute("INSERT INTO celery_taskmeta VALUES (1, 'old', 'SUCCESS', X'37', NULL, NULL)")
    old.close()
    backend = CeleryTablesDriver(f"db+sqlite:///{path}", {}).result_backend()
    assert load_row(backend.fetch(["old"])["old"].document).result == b"7"
    backend.store([record("new", document=dump_row(ResultRow(status="SUCCESS", name="n")))])
    assert load_row(backend.fetch(["new"])["new"].document).name == "n"
    backend.close()


def test_other_names_and_schemas(place: str) -> None:
    options: dict[str, Any] = {"table_names": {"task": "my_tasks", "group": "my_groups"}}
    engine = sqlalchemy.create_engine(place.removeprefix("db+"))
    schema = None
    if engine.dialect.name == "postgresql":
        schema = "results"
        options["table_schemas"] = {"task": schema, "group": schema}
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS results")
    backend = CeleryTablesDriver(place, options).result_backend()
    backend.store([record("a", document=dump_row(ResultRow(status="SUCCESS")))])
    assert set(backend.fetch(["a"])) == {"a"}
    assert {"my_tasks", "my_groups"} <= set(sqlalchemy.inspect(engine).get_table_names(schema))
    backend.close()
    engine.dispose()


def test_a_schema_that_is_not_there(place: str) -> None:
    if "postgresql" not in place:
        pytest.skip("schemas are PostgreSQL's")
    options = {"table_schemas": {"task": "nowhere"}}
    backend = CeleryTablesDriver(place, options).result_backend()
    with pytest.raises(ImproperlyConfigured, match="create the schema"):
        backend.fetch(["x"])
    backend.close()


def test_a_connection_for_each_operation(place: str) -> None:
    backend = CeleryTablesDriver(place, {"short_lived_sessions": True}).result_backend()
    backend.store([record("short", document=dump_row(ResultRow(status="SUCCESS")))])
    assert set(backend.fetch(["short"])) == {"short"}
    assert type(backend._database._ready().pool).__name__ == "NullPool"
    backend.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(backend: TableResultBackend) -> None:
    backend.store([record("fork", document=dump_row(ResultRow(status="SUCCESS")))])
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if set(backend.fetch(["fork"])) == {"fork"} else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert set(backend.fetch(["fork"])) == {"fork"}


def test_a_connection_that_the_server_closed_is_replaced(
    place: str, backend: TableResultBackend
) -> None:
    if "postgresql" not in place:
        pytest.skip("asked of PostgreSQL, which ends sessions by a function")
    assert not backend.fetch(["x"])
    engine = sqlalchemy.create_engine(place.removeprefix("db+"))
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    engine.dispose()
    assert not backend.fetch(["x"])


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("db+postgresql://", {}, "names no database"),
        ("db+sqlite://", {}, "in the memory of one process"),
        ("db+sqlite:///:memory:", {}, "in the memory of one process"),
        ("db+sqlite:///a", {"table_names": {"tasks": "x"}}, "without 'tasks'"),
        ("db+sqlite:///a", {"table_names": 3}, "a mapping with 'task' and 'group'"),
        ("db+sqlite:///a", {"engine_options": 3}, "a mapping of options of SQLAlchemy's engine"),
        ("db+sqlite:///a", {"engine_options": {"poolclass": "no.such"}}, "importable"),
        ("db+sqlite:///a", {"table_name": {}}, "Did you mean 'table_names'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(url: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        CeleryTablesDriver(url, options)
    assert sentence in str(caught.value)


def test_a_database_that_sqlalchemy_does_not_know() -> None:
    backend = open_backend("db+oracel://u:secret@h/d")
    with pytest.raises(ImproperlyConfigured, match="knows no such database") as caught:
        backend.fetch(["x"])
    assert "secret" not in str(caught.value)


def test_an_engine_option_that_it_does_not_know(tmp_path: Path) -> None:
    options = {"engine_options": {"pool_sise": 3}}
    backend = CeleryTablesDriver(f"db+sqlite:///{tmp_path / 'r.db'}", options).result_backend()
    with pytest.raises(ImproperlyConfigured, match="pool_sise"):
        backend.fetch(["x"])


def test_tables_are_no_broker() -> None:
    with pytest.raises(ImproperlyConfigured, match="keeps results, not messages"):
        open_broker("db+sqlite:///results.db")


def test_a_wrong_password(place: str) -> None:
    if "mysql" not in place:
        pytest.skip("asked of MariaDB, which always looks at it")
    scheme, _, rest = place.partition("://")
    url = f"{scheme}://root:hunter2@{rest.partition('@')[2]}"
    backend = CeleryTablesDriver(url, {}).result_backend()
    with pytest.raises((ImproperlyConfigured, BackendUnavailable), match="refused") as caught:
        backend.fetch(["x"])
    assert "hunter2" not in str(caught.value)


def test_the_older_setting_means_the_same(tmp_path: Path) -> None:
    app = Umbel("old", profile="celery", broker="memory://", set_as_current=False)
    app.conf.update(result_backend="database", database_url=f"sqlite:///{tmp_path / 'r.db'}")
    app.result_backend.store([make_record(app, task_id="a", state="SUCCESS", result=1)])
    assert app.AsyncResult("a").get(timeout=10) == 1
    app.close()


def test_a_document_that_is_no_row_is_refused(backend: TableResultBackend) -> None:
    from umbel.errors import DecodeError

    with pytest.raises(DecodeError, match="no row of a table"):
        backend.store([record("x")])
