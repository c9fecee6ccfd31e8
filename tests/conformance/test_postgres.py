"""The PostgreSQL driver keeps every promise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import free_port
from umbel.drivers import postgres
from umbel.drivers.postgres import PostgresDriver
from umbel.drivers.postgres.broker import PostgresBroker
from umbel.drivers.postgres.bus import PostgresBus
from umbel.drivers.postgres.result_backend import PostgresResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.schedule_store_suite import ScheduleStoreSuite

QUICK = {"synchronous_commit": "off"}
"""What is promised here does not hang on the disk."""


@pytest.fixture
def driver(postgres_url: str) -> Iterator[PostgresDriver]:
    driver = postgres.open(postgres_url, QUICK)
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def nobody() -> PostgresDriver:
    """A driver whose server is not there."""
    return postgres.open(f"postgresql://postgres@127.0.0.1:{free_port()}/umbel", {})


class TestPostgresBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, driver: PostgresDriver) -> PostgresBroker:
        return driver.broker()

    @pytest.fixture
    def backend(self, driver: PostgresDriver) -> PostgresResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_broker(self, nobody: PostgresDriver) -> PostgresBroker:
        return nobody.broker()


class TestPostgresBrokerWithResultsElsewhere(TestPostgresBroker):
    """Records go to another schema than the messages."""

    @pytest.fixture
    def backend(self, postgres_url: str) -> Iterator[PostgresResultBackend]:
        backend = postgres.open(postgres_url, {"schema": "elsewhere", **QUICK}).result_backend()
        yield backend
        backend.close()


class TestPostgresResultBackend(ResultBackendSuite):
    @pytest.fixture
    def backend(self, driver: PostgresDriver) -> PostgresResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_backend(self, nobody: PostgresDriver) -> PostgresResultBackend:
        return nobody.result_backend()


class TestPostgresScheduleStore(ScheduleStoreSuite):
    @pytest.fixture
    def driver(self, driver: PostgresDriver) -> PostgresDriver:
        return driver

    @pytest.fixture
    def unreachable_driver(self, nobody: PostgresDriver) -> PostgresDriver:
        return nobody


class TestPostgresBus(BusSuite):
    @pytest.fixture
    def bus(self, driver: PostgresDriver) -> PostgresBus:
        return driver.bus()

    @pytest.fixture
    def unreachable_bus(self, nobody: PostgresDriver) -> PostgresBus:
        return nobody.bus()
