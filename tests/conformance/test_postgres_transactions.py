"""Sending inside the caller's own transaction: committed is sent, rolled back is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import orm

from tests import postgres_server
from umbel import Umbel
from umbel.errors import ImproperlyConfigured, InvalidOption
from umbel.testing.conformance.station import PATIENCE, InThread, new_id, presence, task_ids


@pytest.fixture
def app(postgres_url: str) -> Iterator[Umbel]:
    app = Umbel("shop", broker=postgres_url, backend=postgres_url, set_as_current=False)
    app.conf.task_default_queue = f"tx-{new_id()[:12]}"
    app.broker.declare([])
    yield app
    app.close()


@pytest.fixture
def order(app: Umbel) -> Any:
    @app.task(name="shop.order")
    def order(number: int) -> None: ...

    return order


def waiting(app: Umbel) -> list[str]:
    """Claim and give back what is ready; return the task ids."""
    queue = next(iter(app.router.queues.values()))
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=60.0)
    found = task_ids(consumer.exchange([], 100).deliveries)
    consumer.close()
    return found


@contextmanager
def by_psycopg(url: str) -> Iterator[Any]:
    with psycopg.connect(url) as connection:
        yield connection


@contextmanager
def by_psycopg2(url: str) -> Iterator[Any]:
    import psycopg2

    connection = psycopg2.connect(url)
    yield connection
    connection.close()


@contextmanager
def by_session(url: str, driver: str = "psycopg") -> Iterator[Any]:
    engine = sqlalchemy.create_engine(url.replace("postgresql", f"postgresql+{driver}", 1))
    with orm.Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def by_session_of_psycopg2(url: str) -> Iterator[Any]:
    with by_session(url, "psycopg2") as session:
        yield session


@contextmanager
def by_connection(url: str) -> Iterator[Any]:
    engine = sqlalchemy.create_engine(url.replace("postgresql", "postgresql+psycopg", 1))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


EVERY = pytest.mark.parametrize(
    "open_one",
    [by_psycopg, by_psycopg2, by_session, by_session_of_psycopg2, by_connection],
)


@EVERY
def test_what_is_committed_is_sent_and_what_is_rolled_back_is_not(
    app: Umbel, order: Any, postgres_url: str, open_one: Any
) -> None:
    with open_one(postgres_url) as connection:
        lost = order.delay_tx(connection, 1)
        assert waiting(app) == []
        connection.rollback()
        assert waiting(app) == []
        sent = order.delay_tx(connection, 2)
        assert sent.id != lost.id
        assert waiting(app) == []
        connection.commit()
    assert waiting(app) == [sent.id]


@EVERY
def test_options_hold_in_a_transaction_too(
    app: Umbel, order: Any, postgres_url: str, open_one: Any
) -> None:
    with open_one(postgres_url) as connection:
        late = datetime.now(UTC) + timedelta(hours=1)
        order.apply_async_tx(connection, (1,), eta=late)
        second = order.apply_async_tx(connection, (2,), priority=6, task_id=new_id())
        first = order.apply_async_tx(connection, kwargs={"number": 3}, priority=1)
        connection.commit()
    assert waiting(app) == [first.id, second.id]
    (stats,) = app.broker.stats([app.conf.task_default_queue])
    assert (stats.ready, stats.delayed) == (2, 1)


def test_a_commit_wakes_who_waits(app: Umbel, order: Any, postgres_url: str) -> None:
    queue = next(iter(app.router.queues.values()))
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=600.0)
    try:
        waits = InThread(lambda: task_ids(consumer.receive(1, PATIENCE)))
        with psycopg.connect(postgres_url) as connection:
            sent = order.delay_tx(connection, 1)
            connection.commit()
        assert waits.result() == [sent.id]
    finally:
        consumer.close()


def test_outside_a_transaction_it_is_sent_at_once(
    app: Umbel, order: Any, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        sent = order.delay_tx(connection, 1)
    assert waiting(app) == [sent.id]


DJANGO = """
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

url = urlsplit(sys.argv[1])
place = {"NAME": url.path[1:], "HOST": url.hostname, "PORT": url.port or ""}
account = {"USER": url.username or "", "PASSWORD": url.password or ""}
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **place, **account}}
)
django.setup()

from django.db import connection, transaction
from umbel import Umbel

app = Umbel("shop", broker=sys.argv[1])
app.conf.task_default_queue = sys.argv[2]


@app.task(name="shop.order")
def order(number):
    ...


try:
    with transaction.atomic():
        order.delay_tx(connection, 1)
        raise ZeroDivisionError
except ZeroDivisionError:
    print(app.broker.stats([sys.argv[2]])[0].ready)
with transaction.atomic():
    sent = order.delay_tx(connection, 2)
    print(app.broker.stats([sys.argv[2]])[0].ready)
print(sent.id)
"""


def test_django(app: Umbel, postgres_url: str) -> None:
    words = [sys.executable, "-c", DJANGO, postgres_url, app.conf.task_default_queue]
    told = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert told.returncode == 0, told.stderr
    rolled_back, within, sent = told.stdout.split()
    assert (rolled_back, within) == ("0", "0")
    assert waiting(app) == [sent]


@pytest.mark.parametrize("wrong", [None, "default", object(), 7])
def test_what_is_no_connection_is_refused(order: Any, wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=r"not of builtins\."):
        order.delay_tx(wrong, 1)


def test_a_session_of_another_database_is_refused(order: Any) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with (
        orm.Session(engine) as session,
        pytest.raises(InvalidOption, match=r"talks to sqlite, and the messages rest in PostgreSQL"),
    ):
        order.delay_tx(session, 1)
    with pytest.raises(InvalidOption, match=r"a Engine of SQLAlchemy has none"):
        order.delay_tx(engine, 1)
    engine.dispose()


def test_asynchronous_sessions_are_told_how(app: Umbel, order: Any) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession

    with pytest.raises(InvalidOption, match=r"run_sync"):
        order.delay_tx(AsyncSession(), 1)


def test_a_database_without_tables_is_named(order: Any) -> None:
    with (
        postgres_server.database("empty") as url,
        psycopg.connect(url) as connection,
        pytest.raises(ImproperlyConfigured, match=r"no tables of Umbel in the schema 'umbel'"),
    ):
        order.delay_tx(connection, 1)
