"""The memory driver keeps every promise, with a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from umbel.drivers.memory import MemoryDriver
from umbel.drivers.memory.broker import MemoryBroker
from umbel.drivers.memory.bus import MemoryBus
from umbel.drivers.memory.result_backend import MemoryResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.schedule_store_suite import ScheduleStoreSuite
from umbel.testing.manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def driver(clock: ManualClock) -> MemoryDriver:
    return MemoryDriver(clock)


class TestMemoryBroker(BrokerSuite):
    @pytest.fixture
    def broker(self, driver: MemoryDriver) -> MemoryBroker:
        return driver.broker()

    @pytest.fixture
    def backend(self, driver: MemoryDriver) -> MemoryResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Callable[[float], None]:
        return clock.advance

    @pytest.fixture
    def now(self, clock: ManualClock) -> Callable[[], datetime]:
        return clock.now


class TestMemoryBrokerWithResultsElsewhere(TestMemoryBroker):
    """Records go to another store than the messages."""

    @pytest.fixture
    def backend(self, clock: ManualClock) -> MemoryResultBackend:
        return MemoryDriver(clock).result_backend()


class TestMemoryResultBackend(ResultBackendSuite):
    @pytest.fixture
    def backend(self, driver: MemoryDriver) -> MemoryResultBackend:
        return driver.result_backend()

    @pytest.fixture
    def elapse(self, clock: ManualClock) -> Callable[[float], None]:
        return clock.advance


class TestMemoryBus(BusSuite):
    @pytest.fixture
    def bus(self, driver: MemoryDriver) -> MemoryBus:
        return driver.bus()


class TestMemoryScheduleStore(ScheduleStoreSuite):
    @pytest.fixture
    def driver(self, driver: MemoryDriver) -> MemoryDriver:
        return driver
