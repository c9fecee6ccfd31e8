"""What is promised of the Redis driver beyond the suites: doors, keys, memory, waiting."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import RedisServer
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.connection import BROKER, Connection
from umbel.drivers.redis.shelves import MOST_READ
from umbel.errors import (
    BackendUnavailable,
    BrokerUnavailable,
    ImproperlyConfigured,
    OutcomeUnknown,
    Unroutable,
)
from umbel.model.delivery import Ack, Quarantine, Requeue
from umbel.model.queues import Queue
from umbel.model.shelves import EVERYTHING, Selection, Shelf, Withdrawal
from umbel.ports import Broker, ResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
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
from umbel.wire import envelope

pytestmark = pytest.mark.redis

Drive = Callable[..., RedisDriver]
Serve = Callable[..., RedisServer]


@pytest.fixture
def drive() -> Iterator[Drive]:
    made: list[RedisDriver] = []

    def make(url: str, **options: object) -> RedisDriver:
        made.append(RedisDriver(url, options))
        return made[-1]

    yield make
    for driver in made:
        driver.broker().close()
        driver.result_backend().close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts a server with the given words of configuration."""
    made: list[RedisServer] = []

    def make(*words: str, persistent: bool = False) -> RedisServer:
        made.append(RedisServer(*words, persistent=persistent).start())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def station(redis_url: str, drive: Drive) -> Iterator[Station]:
    driver = drive(redis_url)
    with station_of(driver.broker(), driver.result_backend()) as station:
        yield station


@pytest.fixture
def queue() -> Queue:
    return Queue(f"alone-{new_id()[:12]}")


@pytest.fixture
def raw(redis_url: str, drive: Drive) -> Iterator[Callable[..., Any]]:
    """A function that sends one command."""
    connection = Connection(drive(redis_url).result_backend().address, BROKER)
    yield lambda *words: connection.call(words, time.monotonic() + 10)
    connection.close()


def works(driver: RedisDriver) -> bool:
    """Send, claim, settle with a result, read it."""
    with station_of(driver.broker(), driver.result_backend()) as station:
        queue = Queue(f"works-{new_id()[:12]}")
        ids = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Ack(), records=[record(ids[0])])], 0)
        return set(driver.result_backend().fetch(ids)) == set(ids)


# --- the other arrangements keep every promise too --------------------------------------------


class TestResultsInAnotherDatabase(BrokerSuite):
    """As in the tutorial: broker in one database of a server, results in another."""

    @pytest.fixture
    def broker(self, redis_url: str, drive: Drive) -> Broker:
        return drive(redis_url).broker()

    @pytest.fixture
    def backend(self, redis_url: str, drive: Drive) -> ResultBackend:
        return drive(redis_url[:-1] + "4").result_backend()


class TestResultsOnAnotherServer(BrokerSuite):
    @pytest.fixture
    def broker(self, redis_url: str, drive: Drive) -> Broker:
        return drive(redis_url).broker()

    @pytest.fixture
    def backend(self, redis_url: str, drive: Drive) -> ResultBackend:
        # Another name of the same machine: nothing can be known of it.
        return drive(redis_url.replace("127.0.0.1", "localhost")).result_backend()


@pytest.fixture(scope="module")
def mute_url() -> Iterator[str]:
    server = RedisServer(
        *["--user", "ann", "on", ">pw", "~*", "&*", "+@all", "-client|tracking"]
    ).start()
    yield server.url().replace("redis://", "redis://ann:pw@")
    server.close()


class TestServerThatDoesNotTellOfChanges(BrokerSuite):
    """An access list that refuses CLIENT TRACKING; and other keys, steps, and a prefix."""

    @pytest.fixture
    def broker(self, mute_url: str, drive: Drive) -> Broker:
        return self.driver(mute_url, drive).broker()

    @pytest.fixture
    def backend(self, mute_url: str, drive: Drive) -> ResultBackend:
        return self.driver(mute_url, drive).result_backend()

    def driver(self, url: str, drive: Drive) -> RedisDriver:
        return drive(
            url,
            polling_interval=0.02,
            sep=":",
            priority_steps=range(10),
            global_keyprefix="mine:",
        )


# --- doors --------------------------------------------------------------------------------------


def test_a_password(serve: Serve, drive: Drive) -> None:
    server = serve("--requirepass", "hunter2")
    assert works(drive(server.url(password="hunter2")))
    for password in ("", "wrong"):
        driver = drive(server.url(password=password))
        with pytest.raises(BrokerUnavailable) as caught:
            driver.broker().ping()
        assert "password" in str(caught.value)
        assert "hunter2" not in str(caught.value)
        assert ":wrong@" not in str(caught.value)
        with pytest.raises(BackendUnavailable, match="password"):
            driver.result_backend().fetch(["x"])


def test_a_user_with_an_access_list(serve: Serve, drive: Drive) -> None:
    server = serve(*["--user", "ann", "on", ">pw", "~*", "&*", "+@all", "-publish"])
    url = server.url().replace("redis://", "redis://ann:pw@")
    assert drive(url).broker().ping().startswith("Redis ")
    with pytest.raises(BackendUnavailable, match=r"refused|does not allow"):
        drive(url).result_backend().store([record(new_id())])


def test_a_unix_socket(serve: Serve, drive: Drive) -> None:
    server = serve()
    assert works(drive(f"redis+socket://{server.socket_path}?virtual_host=2"))
    with pytest.raises(BrokerUnavailable, match="No such file"):
        drive("redis+socket:///no/such.sock").broker().ping()


def test_the_second_of_two_servers(redis_url: str, serve: Serve, drive: Drive) -> None:
    gone = serve()
    gone.kill()
    assert works(drive(f"{gone.url()};{redis_url}"))


def make_certificate(folder: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem"
    subprocess.run(
        [*command.split(), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def test_tls(tmp_path: Path, serve: Serve, drive: Drive) -> None:
    try:
        make_certificate(tmp_path)
    except FileNotFoundError:
        pytest.skip("no openssl in PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    words = ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key]
    serve(*words, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
    url = f"rediss://localhost:{port}/0"
    assert works(drive(f"{url}?ssl_ca_certs={cert}"))
    assert works(drive(f"{url}?ssl_cert_reqs=none"))
    with pytest.raises(BrokerUnavailable, match="certificate verify failed"):
        drive(url).broker().ping()
    with pytest.raises(BrokerUnavailable):
        drive(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={cert}").broker().ping()
    waiting_through_tls(drive(f"{url}?ssl_ca_certs={cert}"))


def waiting_through_tls(driver: RedisDriver) -> None:
    queue = Queue("tls")
    with station_of(driver.broker(), driver.result_backend()) as station:
        consumer = station.consumer(queue)
        waiting = InThread(lambda: task_ids(take(consumer, 1)))
        ids = station.send(queue)
        assert waiting.result() == ids


def test_a_database_that_is_not_there(redis_url: str, drive: Drive) -> None:
    with pytest.raises(BrokerUnavailable, match="out of range"):
        drive(redis_url.rpartition("/")[0] + "/99").broker().ping()
    backend = drive(redis_url.rpartition("/")[0] + "/99").result_backend()
    with pytest.raises(BrokerUnavailable, match="out of range"):
        drive(redis_url).broker().open_consumer(
            [Queue("q")], presence=presence(), lease=1.0, results=backend
        )


class OldServer:
    """Says what an old Redis says to HELLO."""

    def __init__(self, reply: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._reply = reply
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        peer.recv(1000)
        peer.sendall(self._reply)
        peer.close()

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


@pytest.mark.parametrize(
    ("reply", "version"),
    [
        (b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n", "before 6.0"),
        (b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n", "6.0.16"),
    ],
)
def test_an_old_server_is_refused_with_a_sentence(reply: bytes, version: str, drive: Drive) -> None:
    old = OldServer(reply)
    with pytest.raises(BrokerUnavailable, match=rf"is Redis {version}; Umbel needs 6\.2 or newer"):
        drive(old.url).broker().ping()
    old.close()


def test_somebody_who_is_not_redis(drive: Drive) -> None:
    other = OldServer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        drive(other.url).broker().ping()
    other.close()


def test_no_queue_no_consumer(redis_url: str, drive: Drive) -> None:
    with pytest.raises(ImproperlyConfigured, match="at least one queue"):
        drive(redis_url).broker().open_consumer([], presence=presence(), lease=1.0)


# --- sentinel -----------------------------------------------------------------------------------


def test_sentinel_tells_where_the_master_is(serve: Serve, drive: Drive, tmp_path: Path) -> None:
    master = serve()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {port}\nsentinel monitor mine 127.0.0.1 {master.port} 1\n")
    process = subprocess.Popen(
        ["redis-server", str(config), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        driver = drive(f"sentinel://127.0.0.1:{port}/1", master_name="mine")

        def reached() -> bool:
            try:
                return driver.broker().ping().startswith("Redis ")
            except BrokerUnavailable:
                return False

        eventually(reached)
        assert works(driver)
        stranger = drive(f"sentinel://127.0.0.1:{port}/1", master_name="yours")
        with pytest.raises(BrokerUnavailable, match="knows where 'yours' is"):
            stranger.broker().ping()
        lonely = drive(f"sentinel://127.0.0.1:{port}/1", master_name="mine", min_other_sentinels=1)
        with pytest.raises(BrokerUnavailable, match="too few other sentinels"):
            lonely.broker().ping()
    finally:
        process.kill()
        process.wait()


# --- what lies in the keys ------------------------------------------------------------------------


def test_what_celery_reads(station: Station, queue: Queue, raw: Callable[..., Any]) -> None:
    station.broker.declare([Queue(queue.name, exchange=queue.name, routing_key="key")])
    member = f"key\x06\x16\x06\x16{queue.name}".encode()
    assert raw("SMEMBERS", f"_kombu.binding.{queue.name}") == [member]
    assert raw("SMEMBERS", f"_kombu.binding_permanent.{queue.name}") == [member]
    station.send(queue, priority=5)
    content = json.loads(raw("LINDEX", f"{queue.name}\x06\x163", 0))
    assert set(content) == {"body", "content-encoding", "content-type", "headers", "properties"}
    properties = content["properties"]
    assert properties["delivery_info"] == {"exchange": "", "routing_key": queue.name}
    assert properties["body_encoding"] == "base64"
    assert len(properties["delivery_tag"]) == 36


def test_a_queue_that_expires(station: Station, queue: Queue, raw: Callable[..., Any]) -> None:
    expiring = Queue(queue.name, exchange=f"x-{queue.name}", arguments={"x-expires": 60_000})
    station.broker.declare([expiring])
    assert raw("ZSCORE", "_kombu.binding_deadlines", f"x-{queue.name}") > time.time() * 1000
    assert raw("EXISTS", f"_kombu.binding_permanent.x-{queue.name}") == 0
    station.publish(outgoing(expiring, new_id()))
    assert 0 < raw("PTTL", queue.name) <= 60_000


def test_nothing_of_a_settled_message_stays(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    station.send(queue, 3)
    consumer = station.consumer(queue)
    for _ in range(2):
        (delivery, *_rest) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Requeue(counted=True))], 0)
    for delivery in take(consumer, 3):
        consumer.exchange([settlement(delivery, Ack())], 0)
    consumer.close()
    left = raw("KEYS", f"*{queue.name}*")
    assert left == []


def test_a_rescued_message_says_so_to_celery(station: Station, queue: Queue) -> None:
    station.send(queue)
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    assert not envelope.peek(delivery.raw).redelivered
    consumer.exchange([settlement(delivery, Requeue(counted=True))], 0)
    (delivery,) = take(consumer, 1)
    assert envelope.peek(delivery.raw).redelivered
    consumer.exchange([settlement(delivery, Requeue(counted=True))], 0)
    (again,) = take(consumer, 1)
    assert again.raw == delivery.raw


def test_an_envelope_that_is_no_envelope_travels_all_the_same(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    bad = [b"", b"{", b"\xff\x00", b'{"delivery_info": {}}', b"x" * 100_000, b'"\\"delivery_tag"']
    raw("LPUSH", queue.name, *bad)
    consumer = station.consumer(queue)
    for deliveries in (take(consumer, len(bad)), ()):
        for each in deliveries:
            consumer.exchange([settlement(each, Requeue(front=False, counted=True))], 0)
    again = take(consumer, len(bad))
    assert {each.count for each in again} == {2}
    assert [each.raw for each in again if b"delivery_info" not in each.raw] == [
        each for each in bad if b"delivery_info" not in each
    ]
    for each in again:
        consumer.exchange([settlement(each, Quarantine("undecodable", "no JSON"))], 0)
    kept = station.broker.shelves().page(
        Shelf.QUARANTINE, queue.name, EVERYTHING, after=None, limit=10
    )
    assert {(each.reason, each.detail, each.count) for each in kept.entries} == {
        ("undecodable", "no JSON", 2)
    }
    assert sorted(each.raw for each in kept.entries) == sorted(each.raw for each in again)
    assert raw("EXISTS", f"umbel:{{{queue.name}}}:deliveries") == 0


def test_a_follow_up_that_has_no_place_is_set_aside_not_lost(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    taken = Queue(f"taken-{queue.name}")
    raw("SET", taken.name, "somebody's")
    station.send(queue, 2)
    consumer = station.consumer(queue)
    first, second = take(consumer, 2)
    follow_up = settlement(first, Ack(), outgoing=[outgoing(taken, "lost?")])
    assert consumer.exchange([follow_up, settlement(second, Ack())], 0).lost == ()
    assert places(station, queue) == (0, 0, 0)
    (kept,) = (
        station.broker.shelves()
        .page(Shelf.QUARANTINE, queue.name, EVERYTHING, after=None, limit=10)
        .entries
    )
    assert kept.reason == "no such queue"
    assert envelope.load(kept.raw).headers["id"] == "lost?"


def test_what_an_older_release_put_to_rest_is_shown_and_comes(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    ids = station.send(queue, 2)
    consumer = station.consumer(queue)
    first, second = take(consumer, 2)
    for delivery in (first, second):
        consumer.exchange([settlement(delivery, Ack())], 0)
    key = f"umbel:{{{queue.name}}}:delayed"
    soon, late = int(time.time() * 1000) + 100, int(time.time() * 1000) + 3_600_000
    raw("ZADD", key, soon, b"0" + first.raw, late, b"0" + second.raw)
    raw("SET", f"umbel:{{{queue.name}}}:alarm", soon)
    shelves = station.broker.shelves()
    page = shelves.page(Shelf.DELAYED, queue.name, EVERYTHING, after=None, limit=10)
    assert [each.raw for each in page.entries] == [first.raw, second.raw]
    assert task_ids(take(consumer, 1)) == ids[:1]
    gone = Withdrawal(id=page.entries[1].id)
    assert shelves.withdraw(Shelf.DELAYED, queue.name, [gone]) == [gone.id]
    assert raw("EXISTS", key, f"umbel:{{{queue.name}}}:alarm") == 0


def test_looking_for_one_among_many_is_done_by_the_server_bit_by_bit(
    station: Station, queue: Queue
) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    ids = station.send(queue, 3 * MOST_READ, due_at=due)
    shelves = station.broker.shelves()
    wanted = Selection(containing=(ids[7].encode(),))
    found: list[str] = []
    calls, after = 0, None
    while calls == 0 or after is not None:
        page = shelves.page(Shelf.DELAYED, queue.name, wanted, after=after, limit=10)
        found += [str(envelope.load(each.raw).headers["id"]) for each in page.entries]
        calls, after = calls + 1, page.after
    assert found == [ids[7]]
    assert calls == 4


def test_publishing_where_something_else_lies_is_unroutable(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    raw("SET", queue.name, "somebody's")
    with pytest.raises(Unroutable, match="not a list"):
        station.send(queue)
    with pytest.raises(OutcomeUnknown, match="Only a part"):
        station.publish(outgoing(queue, new_id()), outgoing(Queue(f"{queue.name}-good"), new_id()))


def test_many_delayed_messages_move_in_bounded_steps(station: Station, queue: Queue) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    ids = [new_id() for _ in range(1000)]
    station.publish(*(outgoing(queue, each, due_at=soon) for each in ids))
    assert places(station, queue) == (0, 0, 1000)
    assert sorted(task_ids(take(station.consumer(queue), 1000))) == sorted(ids)
    assert places(station, queue) == (0, 1000, 0)


def test_many_claims_of_a_dead_owner_move_in_bounded_steps(station: Station, queue: Queue) -> None:
    ids = station.send(queue, 1000)
    zombie = station.consumer(queue, lease=0.3)
    held = take(zombie, 1000)
    rescued = take(station.consumer(queue), 1000)
    assert sorted(task_ids(rescued)) == sorted(ids)
    assert {each.count for each in rescued} == {2}
    late = [settlement(each, Ack()) for each in held]
    assert zombie.exchange(late, 0).lost == tuple(each.receipt for each in held)


def test_queues_take_turns_even_within_one_call(station: Station, queue: Queue) -> None:
    other = Queue(f"other-{queue.name}")
    station.send(queue, 50)
    station.send(other, 50)
    deliveries = station.consumer(queue, other).receive(10, 5.0)
    assert sorted(each.queue for each in deliveries) == sorted([queue.name] * 5 + [other.name] * 5)


def test_a_queue_named_twice_is_claimed_once(station: Station, queue: Queue) -> None:
    ids = station.send(queue, 4)
    consumer = station.consumer(queue, queue)
    deliveries = take(consumer, 4)
    assert task_ids(deliveries) == ids
    assert consumer.exchange([settlement(each, Ack()) for each in deliveries], 0).lost == ()


# --- memory ---------------------------------------------------------------------------------------


def test_a_full_server_refuses_publishers_and_lets_workers_empty_it(
    serve: Serve, drive: Drive
) -> None:
    server = serve("--maxmemory-policy", "noeviction")
    driver, queue, other = drive(server.url()), Queue("full"), Queue("next")
    with station_of(driver.broker(), driver.result_backend()) as station:
        ids = station.send(queue, 50)
        consumer = station.consumer(queue)
        connection = Connection(driver.result_backend().address, BROKER)
        deadline = time.monotonic() + 20
        # Less than it uses already: as full as can be.
        connection.call(("CONFIG", "SET", "maxmemory", 1000), deadline)
        connection.close()
        with pytest.raises(BrokerUnavailable, match="is out of memory"):
            station.send(queue)
        deliveries = consumer.receive(50, 5.0)
        assert task_ids(deliveries) == ids
        settlements = [
            settlement(
                each,
                Ack(),
                records=[record(task_ids([each])[0])],
                outgoing=[outgoing(other, new_id())],
            )
            for each in deliveries
        ]
        assert consumer.exchange(settlements, 0).lost == ()
        assert places(station, queue) == (0, 0, 0)
        assert places(station, other)[0] == 50
        assert set(driver.result_backend().fetch(ids)) == set(ids)


def test_warnings_are_sentences(serve: Serve, drive: Drive) -> None:
    careless = serve("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    found = drive(careless.url()).broker().warnings()
    assert any("allkeys-lru" in each for each in found)
    assert any("keeps nothing on disk" in each for each in found)
    assert drive(serve(persistent=True).url()).broker().warnings() == ()


# --- waiting --------------------------------------------------------------------------------------


def test_an_idle_consumer_asks_nothing(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    """What the server is asked while a consumer waits does not grow with time (D11, P44)."""
    consumer = station.consumer(queue)
    assert not consumer.receive(1, 0.05)

    def scripts() -> int:
        text = raw("INFO", "commandstats").decode()
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in text.splitlines()
            if line.startswith("cmdstat_evalsha:")
        )

    before = scripts()
    assert not consumer.receive(1, 1.0)
    assert scripts() - before <= 2


def test_a_plain_push_at_any_priority_ends_a_wait(
    station: Station, queue: Queue, raw: Callable[..., Any]
) -> None:
    consumer = station.consumer(queue)
    for step in ("", "\x06\x163", "\x06\x166", "\x06\x169"):
        assert not consumer.receive(1, 0.02)
        waiting = InThread(lambda: consumer.receive(1, 20))
        began = time.monotonic()
        raw("LPUSH", f"{queue.name}{step}", b"plain")
        (delivery,) = waiting.result()
        assert time.monotonic() - began < 2
        assert delivery.raw == b"plain"


def test_a_message_due_sooner_ends_a_wait_for_a_later_one(station: Station, queue: Queue) -> None:
    now = datetime.now(UTC)
    station.send(queue, due_at=now + timedelta(hours=1))
    consumer = station.consumer(queue)
    assert not consumer.receive(1, 0.02)
    waiting = InThread(lambda: task_ids(take(consumer, 1)))
    ids = station.send(queue, due_at=now + timedelta(seconds=0.2))
    assert waiting.result() == ids


def test_success_is_not_overwritten_by_a_settlement(station: Station, queue: Queue) -> None:
    (task_id,) = station.send(queue)
    assert station.backend is not None
    station.backend.store([record(task_id)])
    consumer = station.consumer(queue)
    (delivery,) = take(consumer, 1)
    consumer.exchange([settlement(delivery, Ack(), records=[record(task_id, "FAILURE")])], 0)
    assert station.backend.fetch([task_id])[task_id].state == "SUCCESS"
