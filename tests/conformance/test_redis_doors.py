"""Every way to a Redis: client certificates, failover by Sentinel, a cluster, Valkey."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import RedisServer, free_port
from umbel.drivers.redis import RedisDriver
from umbel.drivers.redis.address import Endpoint
from umbel.drivers.redis.cluster import hash_tag, owner_of, slot_of
from umbel.drivers.redis.connection import BROKER, Connection
from umbel.errors import BrokerUnavailable, OperationalError
from umbel.model.delivery import Ack
from umbel.model.queues import Queue
from umbel.ports import Broker, ResultBackend
from umbel.testing.conformance.broker_suite import BrokerSuite
from umbel.testing.conformance.bus_suite import BusSuite
from umbel.testing.conformance.result_backend_suite import ResultBackendSuite
from umbel.testing.conformance.station import (
    eventually,
    new_id,
    record,
    settlement,
    station_of,
    take,
    task_ids,
)

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

    def make(*words: str) -> RedisServer:
        made.append(RedisServer(*words).start())
        return made[-1]

    yield make
    for server in made:
        server.close()


def works(driver: RedisDriver) -> bool:
    """Send, claim, settle with a result, read it."""
    with station_of(driver.broker(), driver.result_backend()) as station:
        queue = Queue(f"works-{new_id()[:12]}")
        ids = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Ack(), records=[record(ids[0])])], 0)
        return set(driver.result_backend().fetch(ids)) == set(ids)


def ask(server: RedisServer, *words: Any) -> Any:
    """Send one command to this server, wherever its keys are; return the reply."""
    connection = Connection(RedisDriver(server.url(), {}).broker()._options.address, BROKER)
    connection._go_to_owner = lambda asked, deadline: None  # type: ignore[method-assign]
    try:
        return connection.call(words, time.monotonic() + 10)
    finally:
        connection.close()


# --- TLS ------------------------------------------------------------------------------------------


class Secured:
    """A Redis that wants its clients' certificates on one port, and speaks plainly on another."""

    def __init__(self, home: Path) -> None:
        self.certificate, self.key, self.port = home / "cert.pem", home / "key.pem", free_port()
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        words += ["-keyout", str(self.key), "-out", str(self.certificate), "-subj", "/CN=localhost"]
        words += ["-addext", "subjectAltName=DNS:localhost"]
        subprocess.run(["openssl", *words], check=True, capture_output=True)
        self.server = RedisServer(
            *["--tls-port", str(self.port), "--tls-cert-file", str(self.certificate)],
            *["--tls-key-file", str(self.key), "--tls-ca-cert-file", str(self.certificate)],
            *["--tls-auth-clients", "yes"],
        ).start()

    def url(self, **options: object) -> str:
        trust = {"ssl_ca_certs": self.certificate, **options}
        query = "&".join(f"{name}={value}" for name, value in trust.items())
        return f"rediss://localhost:{self.port}/0?{query}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    server = shutil.which("redis-server")
    if server is None or shutil.which("openssl") is None:
        pytest.skip("no redis-server or no openssl in PATH")
    if b"tls-auth-clients" not in Path(server).read_bytes():
        pytest.skip("this redis-server was built without TLS")
    secured = Secured(tmp_path_factory.mktemp("tls"))
    yield secured
    secured.server.close()


def test_a_certificate_of_ours(secured: Secured, drive: Drive) -> None:
    assert works(drive(secured.url(ssl_certfile=secured.certificate, ssl_keyfile=secured.key)))


def test_no_certificate_of_ours(secured: Secured, drive: Drive) -> None:
    with pytest.raises(OperationalError, match="certificate of yours: ssl_certfile, ssl_keyfile"):
        drive(secured.url()).broker().ping()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ssl_ca_certs": "/no/such.pem"}, "ssl_ca_certs: /no/such.pem cannot be used, No such"),
        ({"ssl_certfile": "/no/such.pem"}, "ssl_keyfile: /no/such.pem cannot be used, No such"),
    ],
)
def test_a_file_that_is_not_there(
    options: dict[str, str], sentence: str, secured: Secured, drive: Drive
) -> None:
    with pytest.raises(BrokerUnavailable, match=sentence):
        drive(secured.url(**options)).broker().ping()


def test_plain_words_to_a_server_that_wants_tls(secured: Secured, drive: Drive) -> None:
    with pytest.raises(OperationalError, match="if this server wants TLS, write rediss://"):
        drive(f"redis://localhost:{secured.port}/0").broker().ping()


def test_tls_to_a_server_that_speaks_plainly(secured: Secured, drive: Drive) -> None:
    url = f"rediss://localhost:{secured.server.port}/0"
    driver = drive(url, socket_connect_timeout=0.3, socket_timeout=0.3)
    with pytest.raises(OperationalError, match="does this server speak TLS at all"):
        driver.broker().ping()


def test_an_authority_that_is_not_known(secured: Secured, drive: Drive) -> None:
    with pytest.raises(BrokerUnavailable, match="name who signed its certificate by ssl_ca_certs"):
        drive(f"rediss://localhost:{secured.port}/0").broker().ping()


# --- sentinel -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sentinel_tells_of_the_next_master(serve: Serve, drive: Drive, tmp_path: Path) -> None:
    first = serve()
    second = serve("--replicaof", "127.0.0.1", str(first.port))
    eventually(lambda: b"master_link_status:up" in ask(second, "INFO", "replication"))
    port, gone = free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nsentinel monitor mine 127.0.0.1 {first.port} 1\n"
        "sentinel down-after-milliseconds mine 300\nsentinel failover-timeout mine 2000\n"
    )
    process = subprocess.Popen(
        ["redis-server", str(config), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"sentinel://127.0.0.1:{gone};sentinel://127.0.0.1:{port}/0"
        driver = drive(url, master_name="mine")
        with station_of(driver.broker(), driver.result_backend()) as station:
            queue = Queue("failover")
            eventually(lambda: answers(driver))
            consumer = station.consumer(queue)
            (kept,) = station.send(queue)
            eventually(lambda: ask(second, "EXISTS", "failover") == 1)
            eventually(lambda: sentinel_knows(drive, port))
            first.kill()

            def came() -> bool:
                try:
                    return kept in task_ids(consumer.receive(10, 0.2))
                except OperationalError:
                    return False

            eventually(came)
        assert works(driver)
        assert ask(second, "ROLE")[0] == b"master"
    finally:
        process.kill()
        process.wait()


def answers(driver: RedisDriver) -> bool:
    try:
        return driver.broker().ping().startswith("Redis ")
    except OperationalError:
        return False


def sentinel_knows(drive: Drive, port: int) -> bool:
    """Whether the sentinel has heard of a replica, without which it promotes nobody."""
    connection = Connection(drive(f"redis://127.0.0.1:{port}/0").broker()._options.address, BROKER)
    try:
        replicas = connection.call(("SENTINEL", "REPLICAS", "mine"), time.monotonic() + 5)
        return any(each.get(b"master-link-status") == b"ok" for each in replicas)
    finally:
        connection.close()


# --- a cluster ------------------------------------------------------------------------------------


class Cluster:
    """Two masters; the first has every slot."""

    def __init__(self) -> None:
        self.nodes = [self._node(), self._node()]
        first, second = self.nodes
        ask(first, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        ask(first, "CLUSTER", "MEET", "127.0.0.1", second.port, self._buses[1])
        for node in self.nodes:
            eventually(lambda node=node: self._is_whole(node))  # type: ignore[misc]
        self.ids = [ask(node, "CLUSTER", "MYID") for node in self.nodes]

    _buses: list[int]

    def _node(self) -> RedisServer:
        bus = free_port()
        self._buses = [*getattr(self, "_buses", []), bus]
        words = ["--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{bus}.conf"]
        return RedisServer(*words, "--cluster-port", str(bus)).start()

    def _is_whole(self, node: RedisServer) -> bool:
        facts = ask(node, "CLUSTER", "INFO")
        return b"cluster_state:ok" in facts and b"cluster_known_nodes:2" in facts

    def move(self, slot: int) -> None:
        """Give the slot, with nothing in it, to the second node."""
        ask(self.nodes[1], "CLUSTER", "SETSLOT", slot, "NODE", self.ids[1])
        ask(self.nodes[0], "CLUSTER", "SETSLOT", slot, "NODE", self.ids[1])

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.mark.slow
class TestCluster(BrokerSuite):
    """Asked at the node that has none of our keys, and must say who has."""

    @pytest.fixture
    def driver(self, cluster: Cluster, drive: Drive) -> RedisDriver:
        return drive(cluster.nodes[1].url(), global_keyprefix="{suite}:")

    @pytest.fixture
    def broker(self, driver: RedisDriver) -> Broker:
        return driver.broker()

    @pytest.fixture
    def backend(self, driver: RedisDriver) -> ResultBackend:
        return driver.result_backend()


@pytest.mark.slow
class TestResultsInACluster(ResultBackendSuite):
    @pytest.fixture
    def backend(self, cluster: Cluster, drive: Drive) -> ResultBackend:
        return drive(cluster.nodes[1].url(), global_keyprefix="{suite}:").result_backend()


@pytest.mark.slow
class TestBusOfACluster(BusSuite):
    @pytest.fixture
    def bus(self, cluster: Cluster, drive: Drive) -> Any:
        return drive(cluster.nodes[1].url(), global_keyprefix="{suite}:").bus()


def test_two_slots_settle_in_two_steps(cluster: Cluster, drive: Drive) -> None:
    broker = drive(cluster.nodes[0].url(), global_keyprefix="{messages}:").broker()
    results = drive(cluster.nodes[0].url(), global_keyprefix="{results}:").result_backend()
    with station_of(broker, results) as station:
        queue = Queue("apart")
        (task_id,) = station.send(queue)
        consumer = station.consumer(queue)
        (delivery,) = take(consumer, 1)
        consumer.exchange([settlement(delivery, Ack(), records=[record(task_id)])], 0)
        assert set(results.fetch([task_id])) == {task_id}


def test_a_slot_that_moves_is_followed(cluster: Cluster, drive: Drive) -> None:
    driver = drive(cluster.nodes[0].url(), global_keyprefix="{moving}:")
    with station_of(driver.broker(), driver.result_backend()) as station:
        queue = Queue("moved")
        consumer = station.consumer(queue)
        publisher_ids = station.send(queue)
        (delivery,) = take(consumer, 1)
        assert task_ids([delivery]) == publisher_ids
        consumer.exchange([settlement(delivery, Ack())], 0)
        for key in ask(cluster.nodes[0], "CLUSTER", "GETKEYSINSLOT", slot_of("moving"), 100):
            ask(cluster.nodes[0], "DEL", key)
        cluster.move(slot_of("moving"))
        with pytest.raises(OperationalError, match="moved our keys to another node"):
            consumer.exchange([], 1)
        consumer.exchange([], 0)
    assert works(driver)
    assert ask(cluster.nodes[1], "CLUSTER", "COUNTKEYSINSLOT", slot_of("moving")) > 0


def test_a_cluster_without_a_hash_tag_is_refused(cluster: Cluster, drive: Drive) -> None:
    for options in ({}, {"global_keyprefix": "shop:"}):
        with pytest.raises(BrokerUnavailable, match="'global_keyprefix' to a name in braces"):
            drive(cluster.nodes[0].url(), **options).broker().ping()


def test_a_cluster_has_one_database(cluster: Cluster, drive: Drive) -> None:
    with pytest.raises(BrokerUnavailable, match="SELECT is not allowed in cluster mode"):
        drive(cluster.nodes[0].url(2), global_keyprefix="{suite}:").broker().ping()


def test_a_slot_that_nobody_serves(drive: Drive) -> None:
    words = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    server = RedisServer(*words).start()
    try:
        with pytest.raises(BrokerUnavailable, match="none of whose nodes serves"):
            drive(server.url(), global_keyprefix="{suite}:").broker().ping()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("prefix", "tag"),
    [("", None), ("shop:", None), ("{shop}:", "shop"), ("a{b}c{d}", "b"), ("{}x", None)],
)
def test_what_of_a_prefix_is_hashed(prefix: str, tag: str | None) -> None:
    assert hash_tag(prefix) == tag


def test_slots_are_those_of_the_cluster_specification() -> None:
    assert slot_of("123456789") == 0x31C3 % 16384  # the specification's own example
    ranges = [[0, 99, [b"", 7000, b"me"]], [100, 200, [b"other", 7001, b"it"], [b"r", 7002, b"x"]]]
    assert owner_of(ranges, 99) == ("", 7000, b"me")
    assert owner_of(ranges, 100) == ("other", 7001, b"it")
    assert owner_of(ranges, 201) is None


# --- Valkey ---------------------------------------------------------------------------------------


class Greeter:
    """Answers HELLO as some server does, and PING."""

    def __init__(self, hello: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._hello = hello
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._listener.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(self._hello)
            peer.recv(1000)
            peer.sendall(b"+PONG\r\n")

    def close(self) -> None:
        self._thread.join(5)
        self._listener.close()


def test_valkey_says_its_own_name(drive: Drive) -> None:
    hello = b"%4\r\n$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n8.0.1\r\n"
    hello += b"$5\r\nproto\r\n:3\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"
    greeter = Greeter(hello)
    assert drive(f"valkey://127.0.0.1:{greeter.port}/0").broker().ping() == "Valkey 8.0.1"
    greeter.close()


@pytest.mark.parametrize(("scheme", "encrypted"), [("valkey", False), ("valkeys", True)])
def test_urls_of_valkey(scheme: str, encrypted: bool, drive: Drive) -> None:
    address = drive(f"{scheme}://:pw@host:7000/2").broker()._options.address
    assert address.endpoints == (Endpoint("host", 7000),)
    assert (address.password, address.db, address.tls is not None) == ("pw", 2, encrypted)


def test_a_valkey_url_does_the_work(serve: Serve, drive: Drive) -> None:
    server = serve()
    assert works(drive(server.url().replace("redis://", "valkey://")))
    assert works(drive(f"unix://{server.socket_path}?virtual_host=2"))
