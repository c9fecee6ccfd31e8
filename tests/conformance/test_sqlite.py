"""The SQLite driver keeps every promise, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from umbel.drivers.sqlite import SqliteDriver
from umbel.drivers.sqlite.broker import SqliteBroker
from umbel.drivers.sqlite.bus import SqliteBus
from umbel.drivers.sqlite.location import Location
from umbel.drivers.sqlite.result_backend import SqliteResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.schedule_store_suite import ScheduleStoreSuite
from umbel.testing.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def driver(clock: ManualClock, tmp_path: Path) -> Iterator[SqliteDriver]:
    driver = SqliteDriver(Location(tmp_path / "umbel.sqlite3"), clock)
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def nowhere(tmp_path: Path) -> SqliteDriver:
    return SqliteDriver(Location(tmp_path / "no such directory" / "umbel.sqlite3"))


class TestSqliteBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, driver: SqliteDriver) -> SqliteBroker:
        return driver.broker()

    @pytest.fixture
    def backend(self, driver: SqliteDriver) -> SqliteResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_broker(self, nowhere: SqliteDriver) -> SqliteBroker:
        return nowhere.broker()

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def now(self, clock: ManualClock) -> Callable[[], datetime]:
        return clock.now


class TestSqliteBrokerWithResultsElsewhere(TestSqliteBroker):
    """Records go to another file than the messages."""

    @pytest.fixture
    def backend(self, clock: ManualClock, tmp_path: Path) -> Iterator[SqliteResultBackend]:
        driver = SqliteDriver(Location(tmp_path / "results.sqlite3"), clock)
        yield driver.result_backend()
        driver.result_backend().close()


class TestSqliteResultBackend(ResultBackendSuite):
    @pytest.fixture
    def backend(self, driver: SqliteDriver) -> SqliteResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_backend(self, nowhere: SqliteDriver) -> SqliteResultBackend:
        return nowhere.result_backend()

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Callable[[float], None]:
        return clock.advance


class TestSqliteBus(BusSuite):
    @pytest.fixture
    def bus(self, driver: SqliteDriver) -> SqliteBus:
        return driver.bus()

    @pytest.fixture
    def unreachable_bus(self, nowhere: SqliteDriver) -> SqliteBus:
        return nowhere.bus()


class TestSqliteScheduleStore(ScheduleStoreSuite):
    @pytest.fixture
    def driver(self, driver: SqliteDriver) -> SqliteDriver:
        return driver

    @pytest.fixture
    def unreachable_driver(self, nowhere: SqliteDriver) -> SqliteDriver:
        return nowhere
