"""Hosts and networks that say nothing: how long anybody waits for PostgreSQL to have it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests import postgres_server
from tests.chaos.proxy import Proxy
from umbel.drivers import postgres
from umbel.drivers.postgres import PostgresDriver
from umbel.errors import BrokerUnavailable, ImproperlyConfigured, OperationalError
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.testing.conformance.station import (
    new_id,
    outgoing,
    settlement,
    station_of,
    take,
)

LEASE = 3.0
"""Seconds: a third of it is what a worker waits for one answer."""
ROOM = 1.0
"""Seconds that a busy machine may take besides."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres_server.database("connecting") as url:
        broker = postgres.open(url, {}).broker()
        broker.ping()  # makes the tables, which takes longer than connecting
        broker.close()
        yield url


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    proxy = Proxy(urlsplit(url).port or 5432)
    yield proxy
    proxy.close()


@pytest.fixture
def driver(url: str, proxy: Proxy) -> Iterator[PostgresDriver]:
    parts = urlsplit(url)
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
    driver = postgres.open(postgres_server.url_of(url, parts.path[1:], netloc=netloc), {})
    yield driver
    driver.broker().close()
    driver.result_backend().close()


class Taking:
    """How many seconds the block took."""

    def __enter__(self) -> Taking:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began


def hosts(url: str, *first: str) -> str:
    """Return the URL with other hosts before its own."""
    parts = urlsplit(url)
    account, _, own = parts.netloc.rpartition("@")
    return f"postgresql://{account}@{','.join((*first, own))}{parts.path}"


def test_a_silent_host_is_given_up_to_the_moment(silent: str) -> None:
    """Not after two whole seconds, which is the least that libpq's connect_timeout can say."""
    publisher = postgres.open(f"postgresql://u@{silent}/shop", {}).broker().open_publisher()
    with Taking() as taken, pytest.raises(BrokerUnavailable, match=r"no answer within 0\.3 s"):
        publisher.publish([outgoing(Queue("q"), new_id())], timeout=0.3)
    assert 0.25 < taken.seconds < 0.3 + ROOM


def test_a_silent_host_leaves_the_others_their_share_of_the_time(url: str, silent: str) -> None:
    driver = postgres.open(hosts(url, silent), {})
    publisher = driver.broker().open_publisher()
    with Taking() as taken:
        publisher.publish([outgoing(Queue("shares"), new_id())], timeout=1.5)
    assert taken.seconds < 1.5
    publisher.close()


def test_every_host_that_refused_is_told_of(silent: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    url = f"postgresql://u@{silent},127.0.0.1:{port}/shop?connect_timeout=0.2"
    with Taking() as taken, pytest.raises(BrokerUnavailable) as caught:
        postgres.open(url, {}).broker().ping()
    assert "cannot be reached (no answer within 0.2 s; Connection refused)" in str(caught.value)
    assert taken.seconds < 0.2 + ROOM


@pytest.mark.parametrize("value", ["soon", "0", "-1"])
def test_a_connect_timeout_is_a_number_of_seconds(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"connect_timeout is a number of seconds"):
        postgres.open(f"postgresql://localhost/shop?connect_timeout={value}", {})


def test_a_lease_outlives_a_network_that_says_nothing_for_half_of_it(
    driver: PostgresDriver, proxy: Proxy
) -> None:
    """The URL allows ten seconds for an answer and five for connecting, the lease is three."""
    queue = Queue(f"silent-{new_id()[:8]}")
    with station_of(driver.broker(), driver.result_backend()) as station:
        station.send(queue, 2)
        consumer = station.consumer(queue, lease=LEASE)
        other = station.consumer(queue, lease=60.0)
        deliveries = take(consumer, 2)
        proxy.swallow()
        with Taking() as taken, pytest.raises(OperationalError, match=r"did not answer within 1 s"):
            consumer.exchange([settlement(deliveries[0], Ack())], 0)
        assert taken.seconds < LEASE / 3 + ROOM / 2
        proxy.heal()
        exchange = consumer.exchange([settlement(each, Ack()) for each in deliveries], 0)
        assert exchange.lost == ()
        assert not other.receive(1, 0.0)


def test_connecting_anew_ends_within_a_third_of_the_lease(
    driver: PostgresDriver, proxy: Proxy
) -> None:
    queue = Queue(f"silent-{new_id()[:8]}")
    with station_of(driver.broker(), driver.result_backend()) as station:
        consumer = station.consumer(queue, lease=LEASE)
        proxy.swallow()
        consumer.reconnect()
        with Taking() as taken, pytest.raises(BrokerUnavailable, match=r"no answer within 1 s"):
            consumer.exchange([], 1)
        assert taken.seconds < LEASE / 3 + ROOM
        proxy.heal()


def test_after_a_lost_session_nobody_waits_for_others_that_were_lost_with_it(
    driver: PostgresDriver, proxy: Proxy
) -> None:
    """A worker asks how the server is when it has connected again: on a new connection."""
    queue = Queue(f"silent-{new_id()[:8]}")
    broker = driver.broker()
    with station_of(broker, driver.result_backend()) as station:
        broker.ping()  # its connection is kept
        consumer = station.consumer(queue, lease=LEASE)
        proxy.strand()
        with pytest.raises(OperationalError, match=r"did not answer"):
            consumer.exchange([], 1)
        consumer.exchange([], 1)
        with Taking() as taken:
            broker.ping()
        assert taken.seconds < ROOM < driver.address.timeout
