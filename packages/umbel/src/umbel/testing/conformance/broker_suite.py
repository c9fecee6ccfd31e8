"""The promises of ``ports.Broker``, ``Publisher`` and ``Consumer``, as tests to subclass.

A test module gives the fixtures::

    class TestMyBroker(BrokerSuite):
        @pytest.fixture
        def broker(self): ...            # a Broker
        @pytest.fixture
        def backend(self): ...           # a ResultBackend; best the one of the same store

and, where the store reads a clock the test can move, ``elapse`` and ``now``; and
``unreachable_broker``, a broker whose service is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from umbel.errors import OperationalError
from umbel.model.queues import Queue
from umbel.ports import Broker, ResultBackend
from umbel.testing.conformance.claiming import ClaimingPromises
from umbel.testing.conformance.leasing import LeasingPromises
from umbel.testing.conformance.settling import SettlingPromises
from umbel.testing.conformance.shelving import ShelvingPromises
from umbel.testing.conformance.slot_filling import JoiningPromises
from umbel.testing.conformance.station import (
    PATIENCE,
    Station,
    new_id,
    outgoing,
    presence,
    really_now,
    station_of,
    wait_really,
)


class BrokerSuite(
    ClaimingPromises, SettlingPromises, JoiningPromises, LeasingPromises, ShelvingPromises
):
    """Everything a broker promises. Subclass it and give it ``broker`` and ``backend``."""

    @pytest.fixture
    def broker(self) -> Broker:
        """Return the broker under test. Queues have random names, so it need not be empty."""
        raise NotImplementedError("give the suite a fixture named broker")

    @pytest.fixture
    def backend(self) -> ResultBackend:
        """Return the result backend that settlements write to."""
        raise NotImplementedError("give the suite a fixture named backend")

    @pytest.fixture
    def unreachable_broker(self) -> Broker:
        """Return a broker whose service cannot be reached."""
        pytest.skip("this broker is always there")

    @pytest.fixture
    def elapse(self) -> Callable[[float], None]:
        """Return a function that lets seconds pass for the store; really, unless overridden."""
        return wait_really

    @pytest.fixture
    def now(self) -> Callable[[], datetime]:
        """Return a function that tells the store's time."""
        return really_now

    @pytest.fixture
    def queue(self, broker: Broker) -> Queue:
        """Return an empty queue."""
        return declared(broker)

    @pytest.fixture
    def other(self, broker: Broker) -> Queue:
        """Return a second empty queue."""
        return declared(broker)

    @pytest.fixture
    def station(self, broker: Broker, backend: ResultBackend) -> Iterator[Station]:
        """Return a place to open consumers that are closed at the end."""
        with station_of(broker, backend) as station:
            yield station

    # --- a service that is not there --------------------------------------------------------------

    def test_publishing_to_nobody_ends_with_a_typed_error(self, unreachable_broker: Broker) -> None:
        began = time.monotonic()
        with pytest.raises(OperationalError) as caught:
            publish_one(unreachable_broker)
        assert time.monotonic() - began < PATIENCE / 2
        assert len(str(caught.value)) > 20

    def test_consuming_from_nobody_ends_with_a_typed_error(
        self, unreachable_broker: Broker
    ) -> None:
        with pytest.raises(OperationalError):
            consume_one(unreachable_broker)

    def test_pinging_nobody_ends_with_a_typed_error(self, unreachable_broker: Broker) -> None:
        with pytest.raises(OperationalError):
            unreachable_broker.ping()


def publish_one(broker: Broker) -> None:
    """Open a publisher and use it: which of the two steps notices is the broker's choice."""
    broker.open_publisher().publish([outgoing(Queue("anything"), new_id())], timeout=0.5)


def consume_one(broker: Broker) -> None:
    """Open a consumer and use it: which of the two steps notices is the broker's choice."""
    broker.open_consumer([Queue("anything")], presence=presence(), lease=1.0).receive(1, 0.5)


def declared(broker: Broker) -> Queue:
    """Return a queue that no other test uses, declared."""
    queue = Queue(f"suite-{new_id()[:12]}")
    broker.declare([queue])
    return queue
