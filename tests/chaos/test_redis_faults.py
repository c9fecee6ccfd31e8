"""The Redis server is killed, frozen, restarted; replies are lost; networks stall."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.proxy import Proxy
from tests.redis_server import RedisServer
from umbel.drivers.redis import RedisDriver
from umbel.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    OperationalError,
    OutcomeUnknown,
)
from umbel.model.delivery import Ack, Delivery, Settlement
from umbel.model.queues import Queue
from umbel.ports import Consumer
from umbel.testing.conformance.station import (
    InThread,
    Station,
    eventually,
    new_id,
    outgoing,
    places,
    presence,
    record,
    settlement,
    station_of,
    take,
    task_ids,
)

pytestmark = pytest.mark.redis

QUICK = {"socket_timeout": 0.3, "socket_connect_timeout": 0.3}
QUEUE = Queue("faulty")
Drive = Callable[..., RedisDriver]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer(persistent=True).start()
    yield server
    server.close()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def drive() -> Iterator[Drive]:
    made: list[RedisDriver] = []

    def make(url: str, **options: object) -> RedisDriver:
        made.append(RedisDriver(url, {**QUICK, **options}))
        return made[-1]

    yield make
    for driver in made:
        driver.broker().close()
        driver.result_backend().close()


@pytest.fixture
def station(server: RedisServer, drive: Drive) -> Iterator[Station]:
    driver = drive(server.url())
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


@pytest.fixture
def far(proxy: Proxy, drive: Drive) -> Iterator[Station]:
    """A station whose network can be broken."""
    driver = drive(proxy.url())
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


def until_it_works(call: Callable[[], object]) -> object:
    """Call until no OperationalError comes any more; return what came instead."""
    found: list[object] = []

    def attempt() -> bool:
        try:
            found.append(call())
        except OperationalError:
            return False
        return True

    eventually(attempt)
    return found[0]


def acks(deliveries: list[Delivery]) -> list[Settlement]:
    return [settlement(each, Ack(), records=[record(task_ids([each])[0])]) for each in deliveries]


# --- publishing -------------------------------------------------------------------------------


def test_a_publisher_notices_a_restart_before_it_sends(
    server: RedisServer, station: Station
) -> None:
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    server.kill()
    server.start()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    assert places(station, QUEUE)[0] == 2
    publisher.close()


def test_publishing_while_the_server_is_down_says_that_nothing_was_sent(
    server: RedisServer, station: Station
) -> None:
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    server.kill()
    with pytest.raises(BrokerUnavailable, match=r"The broker redis://127.* cannot be reached"):
        publisher.publish([outgoing(QUEUE, new_id())], timeout=1)
    server.start()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    assert places(station, QUEUE)[0] == 2
    publisher.close()


def test_publishing_to_a_frozen_server_ends_at_the_deadline(
    server: RedisServer, station: Station
) -> None:
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    server.freeze()
    began = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="before the reply came"):
        publisher.publish([outgoing(QUEUE, new_id())], timeout=0.5)
    assert 0.4 < time.monotonic() - began < 2
    # The kernel still accepts connections for it; nobody says hello.
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="timed out"):
        publisher.publish([outgoing(QUEUE, new_id())], timeout=0.5)
    assert time.monotonic() - began < 2
    server.thaw()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    publisher.close()


def test_a_lost_confirmation_is_told_apart_from_nothing_sent(
    proxy: Proxy, far: Station, station: Station
) -> None:
    publisher = far.broker.open_publisher()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    proxy.lose_replies()
    with pytest.raises(OutcomeUnknown):
        publisher.publish([outgoing(QUEUE, new_id())], timeout=0.5)
    assert places(station, QUEUE)[0] == 2
    proxy.sever()
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    assert places(station, QUEUE)[0] == 3
    publisher.close()


# --- consuming --------------------------------------------------------------------------------


def test_a_waiting_consumer_survives_a_restart(server: RedisServer, station: Station) -> None:
    consumer = station.consumer(QUEUE)
    assert not consumer.receive(1, 0.0)
    waiting = InThread(lambda: consumer.receive(1, 20))
    server.kill()
    with pytest.raises(OperationalError, match=r"was lost|cannot be reached"):
        waiting.result()
    server.start()
    waiting = InThread(lambda: consumer.receive(1, 20))
    ids = station.send(QUEUE)
    assert task_ids(waiting.result()) == ids


def test_claims_survive_a_restart_of_the_server(server: RedisServer, station: Station) -> None:
    ids = station.send(QUEUE, 5)
    consumer = station.consumer(QUEUE)
    deliveries = take(consumer, 3)
    server.kill()
    with pytest.raises(OperationalError):
        consumer.exchange(acks(deliveries[:1]), 0)
    server.start()
    exchange = consumer.exchange(acks(deliveries), 5)
    assert exchange.lost == ()
    assert task_ids(exchange.deliveries) == ids[3:]
    assert places(station, QUEUE) == (0, 2, 0)


def test_a_server_that_forgot_everything_makes_claims_lost(
    server: RedisServer, station: Station
) -> None:
    station.send(QUEUE, 2)
    consumer = station.consumer(QUEUE)
    deliveries = take(consumer, 2)
    with_flush = RedisDriver(server.url(), QUICK).broker()
    with with_flush._pool.lend() as connection:
        connection.call(("FLUSHALL",), time.monotonic() + 5)
    with_flush.close()
    receipts = tuple(each.receipt for each in deliveries)
    assert consumer.exchange(acks(deliveries), 0).lost == receipts
    assert list(consumer.extend(receipts, presence())) == list(receipts)


def test_an_exchange_whose_reply_was_lost_is_not_performed_twice(
    proxy: Proxy, far: Station, station: Station
) -> None:
    other = Queue("next")
    ids = station.send(QUEUE, 4)
    consumer = far.consumer(QUEUE)
    deliveries = take(consumer, 2)
    settlements = [
        settlement(each, Ack(), outgoing=[outgoing(other, new_id())]) for each in deliveries
    ]
    proxy.lose_replies()
    with pytest.raises(OutcomeUnknown):
        consumer.exchange(settlements, 2)
    proxy.sever()
    # It was carried out: two were settled, two claimed that we never heard of.
    again = consumer.exchange(settlements, 10)
    assert again.lost == ()
    assert task_ids(again.deliveries) == ids[2:]
    assert [each.count for each in again.deliveries] == [1, 1]
    assert places(station, other)[0] == 2
    assert places(station, QUEUE) == (0, 2, 0)


def test_a_silent_connection_is_given_up_after_the_time_of_a_reply(
    proxy: Proxy, drive: Drive
) -> None:
    # With the time for connecting on top, as it was, this would wait for an hour.
    driver = drive(proxy.url(), socket_connect_timeout=3600.0)
    with station_of(driver.broker(), driver.result_backend()) as station:
        station.broker.declare([QUEUE])
        consumer = station.consumer(QUEUE)
        proxy.lose_replies()
        with pytest.raises(OperationalError, match="timed out"):
            consumer.exchange([], 1)
        proxy.sever()


def test_a_command_that_arrives_after_all_does_no_harm(
    proxy: Proxy, far: Station, station: Station
) -> None:
    other = Queue("next")
    ids = station.send(QUEUE, 2)
    consumer = far.consumer(QUEUE, lease=1.0)
    (first,) = take(consumer, 1)
    late = settlement(first, Ack(), outgoing=[outgoing(other, new_id())])
    proxy.hold_commands()
    with pytest.raises(OutcomeUnknown):
        consumer.exchange([late], 1)
    proxy.wait_delivered()
    proxy.heal()
    assert consumer.exchange([late], 0).lost == ()
    # Now the stalled connection delivers the old command: settle `first`, claim one.
    proxy.sever()
    assert eventually(lambda: places(station, other)[0] == 1)
    # What it claimed belongs to a name that nobody renews: it comes back when the lease ends.
    rescuer = station.consumer(QUEUE)
    assert task_ids(take(rescuer, 1)) == ids[1:]
    assert places(station, other)[0] == 1


def test_a_frozen_server_does_not_hang_a_consumer(server: RedisServer, station: Station) -> None:
    consumer = station.consumer(QUEUE)
    assert not consumer.receive(1, 0.0)
    server.freeze()
    began = time.monotonic()
    with pytest.raises(OperationalError):
        consumer.exchange([], 1)
    with pytest.raises(BrokerUnavailable):
        consumer.exchange([], 1)
    assert time.monotonic() - began < 5
    server.thaw()
    ids = station.send(QUEUE)
    assert task_ids(until_it_works(lambda: consumer.receive(1, 5))) == ids  # type: ignore[arg-type]


def test_closing_while_the_server_is_away_ends_and_loses_nothing(
    server: RedisServer, station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    ids = station.send(QUEUE)
    consumer = station.consumer(QUEUE, lease=0.5)
    take(consumer, 1)
    server.kill()
    began = time.monotonic()
    consumer.close()
    assert time.monotonic() - began < 6
    assert "claims go back when their lease ends" in caplog.text
    server.start()
    assert task_ids(take(station.consumer(QUEUE), 1)) == ids


def test_a_killed_process_leaves_its_claims_to_others(server: RedisServer) -> None:
    station_driver = RedisDriver(server.url(), QUICK)
    with station_of(station_driver.broker(), station_driver.result_backend()) as station:
        ids = station.send(QUEUE, 3)
        pid = os.fork()
        if pid == 0:  # pragma: no cover - the child is killed
            try:
                take(station.consumer(QUEUE, lease=0.5), 2)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        again = take(station.consumer(QUEUE), 3)
        assert sorted(task_ids(again)) == sorted(ids)
        assert sorted(each.count for each in again) == [1, 2, 2]
    station_driver.broker().close()
    station_driver.result_backend().close()


def test_a_forked_child_uses_connections_of_its_own(server: RedisServer, station: Station) -> None:
    backend = station.backend
    assert backend is not None
    publisher = station.broker.open_publisher()
    first, second = new_id(), new_id()
    publisher.publish([outgoing(QUEUE, first)], timeout=5)
    backend.store([record(first)])
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            publisher.publish([outgoing(QUEUE, second)], timeout=5)
            backend.store([record(second)])
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    # The parent's connections still answer what the parent asks.
    publisher.publish([outgoing(QUEUE, new_id())], timeout=5)
    assert set(backend.fetch([first, second])) == {first, second}
    assert places(station, QUEUE)[0] == 3
    publisher.close()


# --- results ----------------------------------------------------------------------------------


def test_a_watcher_reads_again_after_a_lost_connection(
    proxy: Proxy, far: Station, station: Station
) -> None:
    assert far.backend is not None
    assert station.backend is not None
    unheard, later = new_id(), new_id()
    watcher = far.backend.open_watcher()
    watcher.watch([unheard, later])
    proxy.sever()
    station.backend.store([record(unheard)])
    heard = until_it_works(lambda: watcher.receive(5))
    assert [each.task_id for each in heard] == [unheard]  # type: ignore[attr-defined]
    station.backend.store([record(later)])
    assert [each.task_id for each in watcher.receive(5)] == [later]
    watcher.close()


def test_a_watcher_notices_that_nobody_is_there(server: RedisServer, drive: Drive) -> None:
    driver = drive(server.url(), health_check_interval=0.2)
    watcher = driver.result_backend().open_watcher()
    watcher.watch([new_id()])
    server.freeze()
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        watcher.receive(20)
    assert time.monotonic() - began < 5
    server.thaw()
    watcher.close()


def test_storing_while_the_server_is_down_is_a_typed_error(
    server: RedisServer, station: Station
) -> None:
    assert station.backend is not None
    station.backend.store([record(new_id())])
    server.kill()
    with pytest.raises(BackendUnavailable, match="The result store redis://"):
        station.backend.store([record(new_id())])
    server.start()
    task_id = new_id()
    station.backend.store([record(task_id)])
    assert set(station.backend.fetch([task_id])) == {task_id}


def test_no_message_is_lost_or_settled_twice_while_connections_break(
    proxy: Proxy, far: Station, station: Station
) -> None:
    """Each task sends one follow-up with its ack: as many follow-ups as tasks, or a few more."""
    other = Queue("next")
    ids = station.send(QUEUE, 400)
    consumer = far.consumer(QUEUE, lease=600.0)
    running: dict[str, Settlement] = {}
    done: set[str] = set()
    rounds = 0

    def work(consumer: Consumer) -> None:
        nonlocal rounds
        rounds += 1
        if rounds % 5 == 0:
            proxy.lose_replies()
        elif rounds % 7 == 0:
            proxy.sever()
        try:
            exchange = consumer.exchange(list(running.values()), 7)
        except OperationalError:
            proxy.sever()
            return
        assert exchange.lost == ()
        done.update(running)
        running.clear()
        for each in exchange.deliveries:
            (task_id,) = task_ids([each])
            assert task_id not in done
            running[task_id] = settlement(each, Ack(), outgoing=[outgoing(other, new_id())])

    deadline = time.monotonic() + 40
    while len(done) < len(ids) and time.monotonic() < deadline:
        work(consumer)
    assert done == set(ids)
    assert places(station, QUEUE) == (0, 0, 0)
    assert places(station, other)[0] == len(ids)
