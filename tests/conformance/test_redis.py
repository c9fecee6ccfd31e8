"""The Redis driver keeps every promise; and what is promised of Redis alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redis_server import free_port
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.broker import RedisBroker
from umbel.drivers.redis.bus import RedisBus
from umbel.drivers.redis.result_backend import RedisResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.schedule_store_suite import ScheduleStoreSuite

pytestmark = pytest.mark.redis


@pytest.fixture
def driver(redis_url: str) -> Iterator[RedisDriver]:
    driver = RedisDriver(redis_url, {})
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def nobody() -> RedisDriver:
    """A driver whose server is not there."""
    return RedisDriver(f"redis://127.0.0.1:{free_port()}/0", {})


class TestRedisBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, driver: RedisDriver) -> RedisBroker:
        return driver.broker()

    @pytest.fixture
    def backend(self, driver: RedisDriver) -> RedisResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_broker(self, nobody: RedisDriver) -> RedisBroker:
        return nobody.broker()


class TestRedisResultBackend(ResultBackendSuite):
    @pytest.fixture
    def backend(self, driver: RedisDriver) -> RedisResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def unreachable_backend(self, nobody: RedisDriver) -> RedisResultBackend:
        return nobody.result_backend()


class TestRedisBus(BusSuite):
    @pytest.fixture
    def bus(self, driver: RedisDriver) -> RedisBus:
        return driver.bus()

    @pytest.fixture
    def unreachable_bus(self, nobody: RedisDriver) -> RedisBus:
        return nobody.bus()


class TestRedisScheduleStore(ScheduleStoreSuite):
    @pytest.fixture
    def driver(self, driver: RedisDriver) -> RedisDriver:
        return driver

    @pytest.fixture
    def unreachable_driver(self, nobody: RedisDriver) -> RedisDriver:
        return nobody
