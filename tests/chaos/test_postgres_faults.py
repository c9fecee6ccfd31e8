"""The PostgreSQL server is restarted, killed, frozen, full, refuses us, fails over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torture.postgres import PrivatePostgres

from tests import postgres_server
from tests.e2e.worker_desk import Desk
from umbel.drivers import postgres
from umbel.drivers.postgres import PostgresDriver
from umbel.errors import BackendUnavailable, BrokerUnavailable, OperationalError, OutcomeUnknown
from umbel.model.delivery import Ack, Delivery, Settlement
from umbel.model.queues import Queue
from umbel.testing.conformance.bus_suite import Spread, hear, mailbox, notice, topic
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    Station,
    eventually,
    new_id,
    outgoing,
    places,
    record,
    settlement,
    station_of,
    take,
    task_ids,
)

QUICK = {"timeout": 0.5, "connect_timeout": 2}
Way = Callable[[PrivatePostgres], None]
ENDS: dict[str, Way] = {
    "fast": lambda server: server.stop(),
    "immediate": lambda server: server.stop(immediate=True),
    "killed": lambda server: server.kill(),
}


@pytest.fixture(scope="module")
def server() -> Iterator[PrivatePostgres]:
    server = postgres_server.private_server()
    yield server
    server.close()


@pytest.fixture
def driver(server: PrivatePostgres) -> Iterator[PostgresDriver]:
    driver = postgres.open(server.url(), QUICK)
    yield driver
    driver.broker().close()
    driver.result_backend().close()


@pytest.fixture
def station(driver: PostgresDriver) -> Iterator[Station]:
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


@pytest.fixture
def queue() -> Queue:
    return Queue(f"faulty-{new_id()[:12]}")


@pytest.fixture(params=ENDS)
def ends(request: pytest.FixtureRequest) -> Way:
    return ENDS[request.param]


def until_it_works(call: Callable[[], Any]) -> Any:
    """Call until no OperationalError comes any more; return what came instead."""
    found: list[Any] = []

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


# --- the server ends ------------------------------------------------------------------------------


def test_claims_and_messages_outlive_the_server(
    server: PrivatePostgres, station: Station, queue: Queue, ends: Way
) -> None:
    ids = station.send(queue, 5)
    consumer = station.consumer(queue)
    deliveries = take(consumer, 3)
    ends(server)
    with pytest.raises(OperationalError, match=r"was lost|cannot be reached"):
        consumer.exchange(acks(deliveries[:1]), 0)
    server.start()
    exchange = until_it_works(lambda: consumer.exchange(acks(deliveries), 5))
    assert exchange.lost == ()
    assert task_ids(exchange.deliveries) == ids[3:]
    assert places(station, queue) == (0, 2, 0)
    assert station.backend is not None
    assert set(station.backend.fetch(ids[:3])) == set(ids[:3])


def test_a_waiting_consumer_and_a_line_go_on(
    server: PrivatePostgres, driver: PostgresDriver, station: Station, queue: Queue
) -> None:
    consumer = station.consumer(queue)
    about = topic(Spread.ALL)
    line = driver.bus().open_line([mailbox(about)])
    line.listen(PATIENCE)
    waiting = InThread(lambda: consumer.receive(1, PATIENCE))
    server.kill()  # what is in no log is empty afterwards: the mailboxes too
    with pytest.raises(OperationalError):
        waiting.result()
    server.start()
    until_it_works(lambda: line.listen(PATIENCE))
    assert line.tell([notice(about, "here again")], timeout=PATIENCE) == 1
    assert hear(line) == ["here again"]
    line.close()
    # A new session ends a wait at once: there may be revocations that nobody heard of.
    waiting = InThread(lambda: until_it_works(lambda: take(consumer, 1)))
    ids = station.send(queue)
    assert task_ids(waiting.result()) == ids


def test_nothing_confirmed_is_lost_and_nothing_settled_twice_while_it_restarts(
    server: PrivatePostgres, station: Station, queue: Queue
) -> None:
    """Each task sends one message with its end: as many of these as tasks, in the end."""
    other = Queue(f"{queue.name}-next")
    ids = station.send(queue, 300)
    consumer = station.consumer(queue, lease=600.0)
    running: dict[str, Settlement] = {}
    done: set[str] = set()
    ways = itertools.cycle(ENDS.values())
    deadline = time.monotonic() + 60
    for turn in itertools.count(1):
        if len(done) == len(ids) or time.monotonic() > deadline:
            break
        if turn % 10 == 0:
            next(ways)(server)
            server.start()
        try:
            exchange = consumer.exchange(list(running.values()), 7)
        except OperationalError:
            continue
        assert exchange.lost == ()
        done.update(running)
        running.clear()
        for each in exchange.deliveries:
            (task_id,) = task_ids([each])
            assert task_id not in done
            running[task_id] = settlement(each, Ack(), outgoing=[outgoing(other, new_id())])
    assert done == set(ids)
    assert places(station, queue) == (0, 0, 0)
    assert places(station, other)[0] == len(ids)


@pytest.mark.slow
def test_a_worker_at_work_survives_every_kind_of_restart(
    server: PrivatePostgres, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, server.url("postgres"), task_default_queue="at-work")
    with desk.worker("-c", "2") as worker:
        for number, ends in enumerate(ENDS.values(), 1):
            sent = desk.tasks.add.send_many([(each, number) for each in range(300)])
            ends(server)
            worker.wait_for(r"was lost|cannot be reached", count=number)
            server.start()
            expected = [each + number for each in range(300)]
            assert until_it_works(lambda sent=sent: sent.get(timeout=PATIENCE)) == expected
        (stats,) = desk.app.broker.stats(["at-work"])
        eventually(lambda: desk.app.broker.stats(["at-work"])[0].claimed == 0)
        assert stats.ready == 0
    desk.close()


# --- it says nothing ------------------------------------------------------------------------------


def test_a_frozen_server_holds_nobody_longer_than_was_said(
    server: PrivatePostgres, station: Station, queue: Queue
) -> None:
    publisher = station.broker.open_publisher()
    publisher.publish([outgoing(queue, new_id())], timeout=5)
    consumer = station.consumer(queue)
    assert station.backend is not None
    station.backend.fetch([new_id()])
    server.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown, match=r"did not answer within"):
            publisher.publish([outgoing(queue, new_id())], timeout=0.5)
        with pytest.raises(BrokerUnavailable):
            publisher.publish([outgoing(queue, new_id())], timeout=0.5)
        with pytest.raises(OutcomeUnknown, match=r"did not answer within"):
            consumer.exchange([], 1)
        with pytest.raises(BackendUnavailable):
            station.backend.fetch([new_id()])
        assert time.monotonic() - began < 15
    finally:
        server.freeze(frozen=False)
    publisher.publish([outgoing(queue, new_id())], timeout=5)
    publisher.close()
    assert until_it_works(lambda: consumer.exchange([], 10)).deliveries


# --- it refuses -----------------------------------------------------------------------------------


def test_a_wrong_password_is_said_in_one_sentence_and_not_repeated() -> None:
    server = postgres_server.private_server(password="right/one?")
    try:
        secret = "wr%3Fng"
        url = server.url().replace(server.password, secret)
        with pytest.raises(BrokerUnavailable) as caught:
            postgres.open(url, {}).broker().ping()
        said = str(caught.value)
        assert "password authentication failed" in said
        assert "check the user and the password in the URL" in said
        assert secret not in said
        assert "wr?ng" not in said
        url = server.url().replace(server.password, "right%2Fone%3F")
        broker = postgres.open(url, {}).broker()
        assert broker.ping().startswith("PostgreSQL ")
        broker.close()
    finally:
        server.close()


def test_too_many_connections_are_a_sentence_and_pass() -> None:
    server = postgres_server.private_server(
        "max_connections=4", "superuser_reserved_connections=0", "max_wal_senders=0"
    )
    try:
        broker = postgres.open(server.url(), QUICK).broker()
        broker.ping()
        with server.admin(), server.admin(), server.admin():
            with pytest.raises(BrokerUnavailable, match=r"raise max_connections or run fewer"):
                postgres.open(server.url(), QUICK).broker().ping()
            assert broker.ping()  # who is connected goes on
        eventually(lambda: until_it_works(postgres.open(server.url(), QUICK).broker().ping))
        broker.close()
    finally:
        server.close()


# --- another one takes over -----------------------------------------------------------------------


def test_a_standby_that_is_promoted_is_found_and_has_everything() -> None:
    primary = postgres_server.private_server("synchronous_standby_names=*")
    standby = PrivatePostgres(standby_of=primary).start()
    try:
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        driver = postgres.open(f"postgresql://postgres@{hosts}/postgres", {"connect_timeout": 2})
        queue = Queue("moves")
        with station_of(driver.broker(), driver.result_backend()) as station:
            ids = station.send(queue, 4)
            consumer = station.consumer(queue)
            deliveries = take(consumer, 2)
            primary.kill()
            with pytest.raises(OperationalError, match=r"was lost|cannot be reached"):
                consumer.exchange(acks(deliveries), 0)
            with pytest.raises(BrokerUnavailable, match=r"no host in the URL takes writes"):
                driver.broker().ping()
            standby.promote()
            exchange = until_it_works(lambda: consumer.exchange(acks(deliveries), 4))
            assert exchange.lost == ()
            assert task_ids(exchange.deliveries) == ids[2:]
            more = station.send(queue)
            assert task_ids(take(consumer, 1)) == more
        driver.broker().close()
        driver.result_backend().close()
    finally:
        standby.close()
        primary.close()
