"""The outbox in each database: committed is sent once, rolled back never, and a kill loses none."""

from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import orm

from tests import mariadb_server, postgres_server
from umbel import Umbel
from umbel.drivers.opening import open_broker
from umbel.errors import (
    BrokerUnavailable,
    ImproperlyConfigured,
    InvalidOption,
    NotSupported,
    Unroutable,
)
from umbel.model.queues import Outgoing
from umbel.outbox.database import OutboxDatabase, OutboxMigrator
from umbel.outbox.relay import BATCH, Relay
from umbel.outbox.table import unpacked
from umbel.ports import Publisher
from umbel.testing.conformance.station import PATIENCE, InThread, eventually, new_id

PLACES = ("sqlite", "postgresql", "mariadb")


@pytest.fixture(scope="module", params=PLACES)
def place(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an empty database."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path_factory.mktemp('outbox') / 'shop.db'}"
        elif request.param == "postgresql":
            yield stack.enter_context(postgres_server.database("outbox"))
        else:
            url = stack.enter_context(mariadb_server.database("outbox"))
            yield url.replace("mysql://", "mysql+pymysql://", 1)


@pytest.fixture
def outbox(place: str) -> Iterator[OutboxDatabase]:
    """Return an outbox of this test alone, in a table of its own."""
    database = OutboxDatabase(place, f"outbox_{new_id()[:8].replace('-', '_')}")
    database.create()
    yield database
    database.close()


@pytest.fixture
def app(place: str, outbox: OutboxDatabase) -> Iterator[Umbel]:
    app = Umbel("shop", broker=f"memory://{new_id()}", backend=None, set_as_current=False)
    app.conf.update(outbox_url=place, outbox_table=outbox.table)
    yield app
    app.close()


@pytest.fixture
def order(app: Umbel) -> Any:
    @app.task(name="shop.order")
    def order(number: int) -> None: ...

    return order


class Ledger(Publisher):
    """Confirms everything and remembers it, unless told to fail."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.refused: set[str] = set()
        self.during: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    @property
    def ids(self) -> list[str]:
        return [str(each.message.headers["id"]) for each in self.sent]

    def publish(self, outgoing: Sequence[Outgoing], *, timeout: float) -> None:
        names = [str(each.message.headers["id"]) for each in outgoing]
        self.calls.append(names)
        self.during()
        if self.error is not None:
            raise self.error
        if self.refused & set(names):
            raise Unroutable("there is no such queue")
        self.sent.extend(outgoing)
        self.after()

    def close(self) -> None: ...


class LedgerBroker:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def open_publisher(self) -> Publisher:
        return self.ledger


def relay_to(ledger: Ledger, place: str, table: str, poll: float = 0.05) -> Relay:
    broker: Any = LedgerBroker(ledger)
    return Relay(OutboxDatabase(place, table), broker, poll=poll, publish_timeout=5.0)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def relay(ledger: Ledger, place: str, outbox: OutboxDatabase) -> Iterator[Relay]:
    relay = relay_to(ledger, place, outbox.table)
    yield relay
    relay.close()


# --- every way to a transaction -------------------------------------------------------------------


@contextmanager
def by_library(place: str) -> Iterator[Any]:
    """Open a connection of the DB-API, the usual library of each database."""
    if place.startswith("sqlite"):
        connection: Any = sqlite3.connect(place.removeprefix("sqlite:///"))
    elif place.startswith("postgresql"):
        connection = psycopg.connect(place)
    else:
        connection = mariadb_server.connect(place.replace("+pymysql", ""))
    yield connection
    connection.close()


@contextmanager
def by_psycopg2(place: str) -> Iterator[Any]:
    if not place.startswith("postgresql"):
        pytest.skip("a library of PostgreSQL")
    import psycopg2

    connection = psycopg2.connect(place)
    yield connection
    connection.close()


@contextmanager
def by_connection(place: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@contextmanager
def by_session(place: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(place.replace("postgresql:", "postgresql+psycopg:"))
    with orm.Session(engine) as session:
        yield session
    engine.dispose()


@pytest.mark.parametrize("way", [by_library, by_psycopg2, by_connection, by_session])
def test_what_is_committed_is_sent_once_and_what_is_rolled_back_never(
    place: str, order: Any, relay: Relay, ledger: Ledger, way: Any
) -> None:
    with way(place) as connection:
        order.delay_tx(connection, 1)
        connection.rollback()
        sent = order.delay_tx(connection, 2)
        if not place.startswith("sqlite"):  # where a writer keeps other writers out
            assert relay.step() == 0
        connection.commit()
    assert relay.step() == 1
    assert relay.step() == 0
    assert ledger.ids == [sent.id]
    assert relay.sent == 1


DJANGO = """
import sys
import django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends." + sys.argv[1],
    "NAME": sys.argv[2], "HOST": "127.0.0.1", "USER": sys.argv[3]}})
django.setup()
from django.db import connection, transaction
from umbel import Umbel
app = Umbel("shop", broker="memory://", backend=None)
app.conf.update(outbox_url="sqlite://", outbox_table=sys.argv[4])

@app.task(name="shop.order")
def order(number): ...

try:
    with transaction.atomic():
        order.delay_tx(connection, 1)
        raise RuntimeError
except RuntimeError:
    pass
with transaction.atomic():
    print(order.delay_tx(connection, 2).id)
"""


def test_django(place: str, outbox: OutboxDatabase, relay: Relay, ledger: Ledger) -> None:
    if place.startswith("mysql"):
        pytest.skip("Django wants mysqlclient, which is built with a compiler")
    url = sqlalchemy.make_url(place)
    engine = "sqlite3" if place.startswith("sqlite") else "postgresql"
    words = [engine, str(url.database), url.username or "", outbox.table]
    told = subprocess.run(
        [sys.executable, "-c", DJANGO, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    relay.step()
    assert ledger.ids == [told.stdout.strip()]


def test_options_hold(place: str, order: Any, relay: Relay, ledger: Ledger) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    with by_library(place) as connection:
        task_id = new_id()
        order.apply_async_tx(
            connection, (1,), eta=due, queue="mail", priority=3, task_id=task_id, headers={"a": "ä"}
        )
        connection.commit()
    relay.step()
    (sent,) = ledger.sent
    assert sent.due_at == due
    assert sent.queue.name == "mail"
    assert sent.message.properties["priority"] == 3
    assert (sent.message.headers["id"], sent.message.headers["a"]) == (task_id, "ä")


def test_large_messages_and_many(place: str, app: Umbel, relay: Relay, ledger: Ledger) -> None:
    @app.task(name="shop.note")
    def note(text: str) -> None: ...

    with by_library(place) as connection:
        big = note.delay_tx(connection, "x" * 1_000_000)
        ids = [big.id] + [note.delay_tx(connection, "é").id for _ in range(BATCH + 50)]
        connection.commit()
    assert [relay.step(), relay.step(), relay.step()] == [BATCH, 51, 0]
    assert ledger.ids == ids
    assert len(ledger.sent[0].message.body) > 1_000_000


# --- faults ---------------------------------------------------------------------------------------


def committed(order: Any, place: str, count: int = 1) -> list[str]:
    with by_library(place) as connection:
        ids = [order.delay_tx(connection, number).id for number in range(count)]
        connection.commit()
    return ids


def test_a_broker_that_is_away_loses_nothing(
    place: str, order: Any, relay: Relay, ledger: Ledger, outbox: OutboxDatabase
) -> None:
    ids = committed(order, place, 3)
    ledger.error = BrokerUnavailable("nobody answers")
    with pytest.raises(BrokerUnavailable, match="nobody answers"):
        relay.step()
    assert outbox.status(5).waiting == 3
    ledger.error = None
    assert relay.step() == 3  # at once: what was taken is given back
    assert ledger.ids == ids


def test_a_refused_message_holds_nobody_up(
    place: str, order: Any, relay: Relay, ledger: Ledger, outbox: OutboxDatabase
) -> None:
    first, bad, last = committed(order, place, 3)
    ledger.refused = {bad}
    relay.step()
    assert ledger.ids == [first, last]
    found = outbox.status(5)
    assert found.waiting == 1
    assert [(each.task_id, each.fault) for each in found.faulty] == [
        (bad, "there is no such queue")
    ]
    assert relay.step() == 0  # not before its time
    ledger.refused = set()
    with outbox.take(10, time.time() + 61) as taken:
        assert [row.task_id for row in taken.rows] == [bad]
        assert unpacked(taken.rows[0].message).message.headers["id"] == bad


def test_a_row_that_is_no_message_is_kept_and_named(
    place: str, order: Any, relay: Relay, ledger: Ledger, outbox: OutboxDatabase
) -> None:
    with by_connection(place) as connection:
        connection.execute(
            sqlalchemy.text(
                f"INSERT INTO {outbox.table} (task_id, task, queue, message, created_at) "
                "VALUES ('odd', 't', 'q', :message, 0)"
            ),
            {"message": b"\x00junk"},
        )
        connection.commit()
    ids = committed(order, place)
    relay.step()
    assert ledger.ids == ids
    (faulty,) = outbox.status(5).faulty
    assert faulty.task_id == "odd"
    assert "no message of Umbel's" in faulty.fault


def test_relays_share_the_rows(place: str, order: Any, outbox: OutboxDatabase) -> None:
    ids = committed(order, place, 2 * BATCH + 100)
    ledgers = [Ledger(), Ledger(), Ledger()]
    relays = [relay_to(each, place, outbox.table) for each in ledgers]
    threads = [InThread(relay.run) for relay in relays]
    eventually(lambda: sum(len(each.sent) for each in ledgers) >= len(ids))
    eventually(lambda: outbox.status(0).waiting == 0)
    for relay in relays:
        relay.stop()
    for thread in threads:
        thread.result()
    assert sorted(ids) == sorted(each for ledger in ledgers for each in ledger.ids)


def test_a_caller_writes_while_a_batch_is_being_sent(
    place: str, order: Any, relay: Relay, ledger: Ledger
) -> None:
    first = committed(order, place)
    sending, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        sending.set()
        assert go_on.wait(PATIENCE)

    ledger.during = hold
    stepping = InThread(relay.step)
    assert sending.wait(PATIENCE)
    second = committed(order, place)  # would wait for the relay if that kept the table locked
    go_on.set()
    assert stepping.result() == 1
    relay.step()
    assert ledger.ids == first + second


KILLED = """
import os, signal, sys
from umbel.drivers.opening import open_broker
from umbel.outbox.database import OutboxDatabase
from umbel.outbox.relay import Relay

class Dying:
    def __init__(self, inner):
        self.inner = inner
    def publish(self, outgoing, *, timeout):
        self.inner.publish(outgoing, timeout=timeout)
        os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        self.inner.close()

class Broker:
    def open_publisher(self):
        return Dying(open_broker(sys.argv[3]).open_publisher())

Relay(OutboxDatabase(sys.argv[1], sys.argv[2]), Broker(), poll=1, publish_timeout=5).step()
"""


def test_a_relay_killed_between_sending_and_deleting_sends_again_under_the_same_id(
    place: str, order: Any, outbox: OutboxDatabase, tmp_path: Path
) -> None:
    ids = committed(order, place, 2)
    broker_url = f"sqlite:///{tmp_path / 'broker.sqlite3'}"
    words = [sys.executable, "-c", KILLED, place, outbox.table, broker_url]
    died = subprocess.run(words, timeout=PATIENCE, check=False)
    assert died.returncode == -signal.SIGKILL
    assert outbox.status(0).waiting == 2
    broker = open_broker(broker_url)
    (stats,) = broker.stats(["celery"])
    assert stats.ready == 2
    if place.startswith("sqlite"):
        held = OutboxDatabase(place, outbox.table)
        with held.take(10, time.time()) as taken:
            assert taken.rows == []  # the dead one's hold is not over
        with held.take(10, time.time() + 31) as taken:
            assert [row.task_id for row in taken.rows] == ids
    relay = Relay(OutboxDatabase(place, outbox.table), broker, poll=1, publish_timeout=5.0)
    eventually(lambda: relay.step() == 2 or _unhold(place, outbox))
    assert outbox.status(0).waiting == 0
    (stats,) = broker.stats(["celery"])
    assert stats.ready == 4  # twice, and told by the ids to be the same
    relay.close()
    broker.close()


def _unhold(place: str, outbox: OutboxDatabase) -> bool:
    """Let the hold of a dead relay end, where there is one."""
    if place.startswith("sqlite"):
        with sqlite3.connect(place.removeprefix("sqlite:///")) as connection:
            connection.execute(f"UPDATE {outbox.table} SET held_until = 0")
        connection.close()
    return False


def test_the_relay_goes_on_after_the_broker_was_away(
    place: str,
    order: Any,
    relay: Relay,
    ledger: Ledger,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("umbel.outbox.relay.BACKOFF_FIRST", 0.01)
    ids = committed(order, place)
    ledger.error = BrokerUnavailable("nobody answers")
    with caplog.at_level(logging.INFO, "umbel.outbox"):
        running = InThread(relay.run)
        eventually(lambda: len(ledger.calls) >= 3)
        ledger.error = None
        eventually(lambda: ledger.ids == ids)
        eventually(lambda: "sent again" in caplog.text)
        relay.stop()
        running.result()
    assert caplog.text.count("The outbox waits: nobody answers") == 1


# --- what is wrong is told ------------------------------------------------------------------------


def test_a_missing_table_is_named(place: str, app: Umbel, order: Any, ledger: Ledger) -> None:
    app.conf.outbox_table = "not_there"
    with (
        by_library(place) as connection,
        pytest.raises(ImproperlyConfigured, match=r"no table 'not_there'.*umbel migrate"),
    ):
        order.delay_tx(connection, 1)
    relay = relay_to(ledger, place, "not_there")
    with pytest.raises(ImproperlyConfigured, match=r"no table 'not_there', the outbox: make it"):
        relay.step()
    relay.close()


def test_the_migrator_makes_the_table(place: str) -> None:
    database = OutboxDatabase(place, "made_by_migrate")
    migrator = OutboxMigrator(database)
    assert "**" not in place
    assert "made_by_migrate" in migrator.place
    assert [step.applied for step in migrator.steps()] == [False]
    assert migrator.fault() is not None
    assert migrator.apply(("post",)) == []
    assert [step.name for step in migrator.apply(("pre",))] == ["outbox"]
    assert migrator.apply(("pre", "post")) == []
    assert migrator.fault() is None
    assert [step.applied for step in migrator.steps()] == [True]
    database.close()


def test_without_outbox_url_the_setting_is_named() -> None:
    app = Umbel("shop", broker=f"memory://{new_id()}", backend=None, set_as_current=False)

    @app.task
    def order() -> None: ...

    with pytest.raises(NotSupported, match=r"set outbox_url to the URL of your database"):
        order.delay_tx(object())


@pytest.mark.parametrize(
    ("url", "table", "told"),
    [
        ("postgresql://u:secret@127.0.0.1:1/x", "umbel_outbox", r"u:\*\*@127.0.0.1:1/x does not"),
        ("mysql+pymysql://root@127.0.0.1:1/x", "umbel_outbox", r"127.0.0.1:1/x does not answer"),
        ("sqlite:////nowhere/at/all.db", "umbel_outbox", r"does not answer \(unable to open"),
    ],
)
def test_a_database_that_is_away_is_one_sentence(url: str, table: str, told: str) -> None:
    with pytest.raises(BrokerUnavailable, match=told) as caught:
        OutboxDatabase(url, table).status(1)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "table", "told"),
    [
        ("nonsense", "umbel_outbox", r"outbox_url is nonsense, which SQLAlchemy does not take"),
        ("oracle+nix://x", "umbel_outbox", r"SQLAlchemy knows no such database"),
        ("mssql+pymssql://h/x", "umbel_outbox", r"needs the Python package 'pymssql'"),
        ("sqlite://", "drop table;", r"outbox_table is 'drop table;': it takes the name"),
    ],
)
def test_a_wrong_setting_is_one_sentence(url: str, table: str, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told) as caught:
        OutboxDatabase(url, table)
    assert "\n" not in str(caught.value)


def test_wrong_credentials_are_no_outage() -> None:
    server = postgres_server.server_url()
    with pytest.raises(ImproperlyConfigured, match=r"was refused"):
        OutboxDatabase(postgres_server.url_of(server, "no_such_db"), "umbel_outbox").status(1)


@pytest.mark.parametrize("wrong", [None, object(), 7])
def test_what_is_no_connection_is_refused(order: Any, wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=r"psycopg2, PyMySQL.*not of builtins\."):
        order.delay_tx(wrong, 1)
