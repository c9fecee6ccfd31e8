"""What can be wrong with a database file, and what is said then."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from umbel.drivers.sqlfiles import load_migrations
from umbel.drivers.sqlite import SqliteDriver, connection
from umbel.drivers.sqlite.location import Location
from umbel.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    ImproperlyConfigured,
    OperationalError,
)
from umbel.model.delivery import Ack, Quarantine
from umbel.model.queues import Queue
from umbel.model.shelves import EVERYTHING, Shelf
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    eventually,
    new_id,
    outgoing,
    presence,
    record,
    settlement,
    station_of,
    take,
    task_ids,
)
from umbel.testing.manual_clock import ManualClock
from umbel.wire.envelope import dump_compact

QUEUE = Queue("celery")
NEWEST = len(load_migrations("umbel.drivers.sqlite"))

# Python 3.12 and later warn of any fork beside threads, such as the one that times this test out.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "umbel.sqlite3"


@pytest.fixture
def make(file: Path) -> Iterator[Callable[..., SqliteDriver]]:
    made: list[SqliteDriver] = []

    def make(
        path: Path = file, clock: ManualClock | None = None, timeout: float = 0.2
    ) -> SqliteDriver:
        made.append(SqliteDriver(Location(path, timeout=timeout), clock))
        return made[-1]

    yield make
    for driver in made:
        driver.broker().close()
        driver.result_backend().close()


@pytest.fixture
def driver(make: Callable[..., SqliteDriver]) -> SqliteDriver:
    return make()


@pytest.fixture
def station(driver: SqliteDriver) -> Iterator[Station]:
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


def raw(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


# --- files that cannot be used --------------------------------------------------------------------


def test_a_missing_directory_is_named(make: Callable[..., SqliteDriver], tmp_path: Path) -> None:
    broker = make(tmp_path / "absent" / "a.db").broker()
    with pytest.raises(BrokerUnavailable, match=r"directory .*absent does not exist.*make it"):
        broker.ping()
    (tmp_path / "absent").mkdir()
    assert broker.ping().startswith("SQLite 3.")


def test_a_directory_is_no_file(make: Callable[..., SqliteDriver], tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="is a directory, and SQLite needs a file"):
        make(tmp_path).broker().ping()


def test_a_file_of_something_else_is_left_alone(driver: SqliteDriver, file: Path) -> None:
    file.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(ImproperlyConfigured, match="is not an SQLite database"):
        driver.broker().ping()
    assert file.read_bytes() == b"Dear diary, " * 1000


def test_a_damaged_file_is_an_operational_error(
    make: Callable[..., SqliteDriver], driver: SqliteDriver, station: Station, file: Path
) -> None:
    station.send(QUEUE, 200)
    driver.broker().close()
    with raw(file) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    content = bytearray(file.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(OperationalError, match=f"{file}"):
        make().broker().stats(["celery"])


@FORKS
def test_a_file_nobody_may_write(make: Callable[..., SqliteDriver], public: Path) -> None:
    file = public / "umbel.sqlite3"
    driver = make(file)
    driver.broker().ping()
    driver.broker().close()
    with raw(file) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    database.close()
    file.chmod(0o444)
    public.chmod(0o555)
    told = in_child(lambda: describe(make(file).broker().ping), uid=65534)
    assert told.startswith("BrokerUnavailable")
    assert "cannot be written by this user (uid" in told
    assert "directory must all be writable" in told


@FORKS
def test_a_file_nobody_may_read(make: Callable[..., SqliteDriver], public: Path) -> None:
    file = public / "umbel.sqlite3"
    driver = make(file)
    driver.broker().ping()
    driver.broker().close()
    file.chmod(0o000)
    told = in_child(lambda: describe(make(file).broker().ping), uid=65534)
    assert told.startswith("BrokerUnavailable")
    assert "cannot be opened by this user (uid" in told


def test_a_newer_schema_is_refused(driver: SqliteDriver, file: Path) -> None:
    driver.broker().ping()
    driver.broker().close()
    with raw(file) as database:
        database.execute("UPDATE umbel_schema SET version = 99")
    database.close()
    with pytest.raises(ImproperlyConfigured, match=r"newer release of Umbel \(schema 99"):
        driver.broker().ping()


def test_an_applications_own_tables_are_left_alone(driver: SqliteDriver, file: Path) -> None:
    with raw(file) as database:
        database.execute("CREATE TABLE customers (name TEXT)")
        database.execute("INSERT INTO customers VALUES ('Ada')")
    assert driver.broker().ping()
    assert database.execute("SELECT name FROM customers").fetchall() == [("Ada",)]
    database.close()


def test_many_may_open_a_new_file_at_once(make: Callable[..., SqliteDriver], file: Path) -> None:
    barrier = threading.Barrier(8)

    def begin() -> str:
        driver = make(timeout=10.0)
        barrier.wait(PATIENCE)
        driver.result_backend().store([record(new_id())])
        return driver.broker().ping()

    for thread in [InThread(begin) for _ in range(8)]:
        assert thread.result()
    with raw(file) as database:
        assert database.execute("SELECT count(*) FROM umbel_result").fetchone() == (8,)
        assert database.execute("SELECT version FROM umbel_schema").fetchall() == [(NEWEST,)]
    database.close()


# --- locks ----------------------------------------------------------------------------------------


def test_a_lock_that_stays_is_a_typed_error_and_loses_nothing(
    driver: SqliteDriver, station: Station, file: Path
) -> None:
    consumer = station.consumer(QUEUE)
    publisher = driver.broker().open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=1.0)
    intruder = raw(file)
    intruder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="has been locked by another process"):
        publisher.publish([outgoing(QUEUE, new_id())], timeout=0.1)
    with pytest.raises(BrokerUnavailable, match="look for a backup"):
        consumer.exchange([], 1)
    with pytest.raises(BackendUnavailable):
        driver.result_backend().store([record(new_id())])
    assert time.monotonic() - began < PATIENCE / 2
    assert driver.result_backend().fetch([new_id()]) == {}
    intruder.execute("ROLLBACK")
    publisher.publish([outgoing(QUEUE, new_id())], timeout=1.0)
    assert len(take(consumer, 2)) == 2
    publisher.close()
    intruder.close()


def test_a_lock_that_goes_is_waited_for(make: Callable[..., SqliteDriver], file: Path) -> None:
    backend = make(timeout=PATIENCE).result_backend()
    backend.ping()
    intruder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    intruder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.1, intruder.execute, ("ROLLBACK",))
    timer.start()
    task_id = new_id()
    backend.store([record(task_id)])
    assert set(backend.fetch([task_id])) == {task_id}
    timer.join()
    intruder.close()


def test_reading_waits_while_another_has_the_file_for_itself(
    make: Callable[..., SqliteDriver], file: Path
) -> None:
    driver = make()
    driver.broker().ping()
    driver.broker().close()
    hoarder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    hoarder.execute("PRAGMA locking_mode = EXCLUSIVE")
    hoarder.execute("DELETE FROM umbel_result")
    began = time.monotonic()
    with pytest.raises(BackendUnavailable, match="has been locked by another process"):
        make(timeout=0.1).result_backend().fetch([new_id()])
    assert time.monotonic() - began < PATIENCE / 2
    timer = threading.Timer(0.1, hoarder.close)
    timer.start()
    assert make(timeout=PATIENCE).result_backend().fetch([new_id()]) == {}
    timer.join()


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_an_adjusted_calendar_ends_no_lease(make: Callable[..., SqliteDriver], jump: float) -> None:
    clock = ManualClock()
    broker = make(clock=clock).broker()
    with station_of(broker, None) as station:
        (task_id,) = station.send(QUEUE)
        take(station.consumer(QUEUE, lease=60.0), 1)
        clock.jump(jump)
        rescuer = station.consumer(QUEUE, lease=60.0)
        assert rescuer.exchange([], 1).deliveries == ()
        assert len(broker.presences()) == 2
        clock.advance(61.0)
        assert task_ids(rescuer.exchange([], 1).deliveries) == [task_id]


def test_leases_of_an_earlier_boot_have_ended(
    make: Callable[..., SqliteDriver], file: Path
) -> None:
    broker = make().broker()
    with station_of(broker, None) as station:
        (task_id,) = station.send(QUEUE)
        take(station.consumer(QUEUE), 1)
        with raw(file) as database:
            database.execute("UPDATE umbel_owner SET boot = 'another', until = 1e9")
        database.close()
        assert broker.presences() == []
        (rescued,) = take(station.consumer(QUEUE), 1)
        assert (task_ids([rescued]), rescued.count) == ([task_id], 2)


def test_an_error_inside_a_transaction_undoes_all_of_it(
    driver: SqliteDriver, station: Station
) -> None:
    (task_id,) = station.send(QUEUE)
    consumer = station.consumer(QUEUE)
    (delivery,) = take(consumer, 1)
    broken = record(task_id, document=object())  # type: ignore[arg-type] # no bytes, on purpose
    with pytest.raises(sqlite3.Error, match="not supported"):
        consumer.exchange([settlement(delivery, Ack(), records=[broken])], 0)
    assert consumer.exchange([settlement(delivery, Ack())], 0).lost == ()


def test_a_file_taken_away_is_noticed(driver: SqliteDriver, station: Station, file: Path) -> None:
    consumer = station.consumer(QUEUE)
    station.send(QUEUE)
    publisher = driver.broker().open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=1.0)
    for path in file.parent.glob("umbel.sqlite3*"):
        if path.is_file():
            path.unlink()
    late = new_id()
    publisher.publish([outgoing(QUEUE, late)], timeout=1.0)
    publisher.close()
    assert file.exists()
    assert task_ids(take(consumer, 1)) == [late]


# --- keeping house --------------------------------------------------------------------------------


def test_what_has_expired_is_deleted(make: Callable[..., SqliteDriver], file: Path) -> None:
    clock = ManualClock()
    driver = make(clock=clock)
    backend = driver.result_backend()
    backend.store([record(new_id(), expires=5.0) for _ in range(1200)])
    backend.store([record(new_id(), expires=500.0), record(new_id())])
    backend.store_group(new_id(), b"[]", 5.0)
    clock.advance(6.0)
    consumer = driver.broker().open_consumer([QUEUE], presence=presence(), lease=60.0)
    for _ in range(3):
        consumer.exchange([], 1)
    consumer.close()
    with raw(file) as database:
        assert database.execute("SELECT count(*) FROM umbel_result").fetchone() == (2,)
        assert database.execute("SELECT count(*) FROM umbel_group").fetchone() == (0,)
    database.close()


def test_a_file_of_an_older_release_keeps_what_rests_and_what_was_set_aside(
    make: Callable[..., SqliteDriver], file: Path
) -> None:
    message = dump_compact(outgoing(QUEUE, "old").message)
    with raw(file) as database:
        for number, statements in load_migrations("umbel.drivers.sqlite")[:2]:
            database.executescript(statements)
            database.execute("DELETE FROM umbel_schema")
            database.execute("INSERT INTO umbel_schema (version) VALUES (?)", (number,))
        database.execute("UPDATE umbel_place SET last = 1")
        database.execute(
            "INSERT INTO umbel_message (id, queue, priority, place, raw) VALUES (1, ?, 0, 1, ?)",
            (QUEUE.name, message),
        )
        database.execute("INSERT INTO umbel_resting VALUES (?, 4e9, 1)", (QUEUE.name,))
        database.execute(
            "INSERT INTO umbel_quarantine (queue, priority, count, reason, detail, at, raw)"
            " VALUES (?, 0, 3, 'worker lost', 'why', 1e9, ?)",
            (QUEUE.name, message),
        )
    database.close()
    shelves = make().broker().shelves()
    (resting,) = shelves.page(Shelf.DELAYED, QUEUE.name, EVERYTHING, after=None, limit=9).entries
    assert (resting.raw, resting.reason, resting.at.timestamp()) == (message, "", 4e9)
    (aside,) = shelves.page(Shelf.QUARANTINE, QUEUE.name, EVERYTHING, after=None, limit=9).entries
    assert (aside.raw, aside.reason, aside.count) == (message, "worker lost", 3)
    assert (aside.worker, aside.error) == (None, None)


def test_what_is_set_aside_is_kept_with_its_reason(station: Station, file: Path) -> None:
    station.send(QUEUE)
    consumer = station.consumer(QUEUE)
    (delivery,) = take(consumer, 1)
    consumer.exchange([settlement(delivery, Quarantine("poison", "three deliveries"))], 0)
    with raw(file) as database:
        rows = database.execute(
            "SELECT queue, count, reason, detail, raw FROM umbel_quarantine"
        ).fetchall()
        left = database.execute("SELECT count(*) FROM umbel_message").fetchone()
    database.close()
    assert rows == [("celery", 1, "poison", "three deliveries", delivery.raw)]
    assert left == (0,)


def test_the_log_is_shortened(
    driver: SqliteDriver, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.result_backend().store([record(new_id(), document=b"x" * 100_000)])
    log = file.with_name(file.name + "-wal")
    assert log.stat().st_size > 100_000
    monkeypatch.setattr(connection, "LOG_LIMIT", 50_000)

    def shortened() -> bool:
        driver.result_backend().store([record(new_id())])
        return log.stat().st_size < 50_000

    eventually(shortened)


# --- other users ----------------------------------------------------------------------------------


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that other users may enter; pytest's own they may not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def describe(call: Callable[[], object]) -> str:
    try:
        call()
    except OperationalError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def in_child(call: Callable[[], str], *, uid: int) -> str:
    """Return what ``call`` returns in a child process, as another user where we are root."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setuid(uid)
            os.write(writer, call().encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as stream:
        return stream.read().decode()


class FullDisk:
    """What SQLite is after a COMMIT for which there was no room: it has rolled back by itself."""

    in_transaction = False

    def execute(self, statement: str) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error


def test_a_commit_for_which_there_was_no_room_is_known_to_be_undone(file: Path) -> None:
    unwritten = connection.Connection(Location(file), BrokerUnavailable)
    with pytest.raises(BrokerUnavailable, match=r"is full; nothing was written$"):
        unwritten._commit(FullDisk())  # type: ignore[arg-type] # as much as it needs
