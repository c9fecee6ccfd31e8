"""One socket, against a peer that says exactly what a test wants."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from umbel.drivers.redis.address import Endpoint, read
from umbel.drivers.redis.connection import BACKEND, BROKER, Connection, pack
from umbel.errors import BackendUnavailable, BrokerUnavailable, OutcomeUnknown

HELLO = b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.0\r\n"
PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nq\r\n"


class Peer:
    """Answers each thing it hears with the next of ``replies``; None hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.replies: list[bytes | None] = []
        self.heard: list[bytes] = []
        self._peers: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peers.append(peer)
            while self.replies and (data := peer.recv(65536)):
                self.heard.append(data)
                reply = self.replies.pop(0)
                if reply is None:
                    break
                peer.sendall(reply)
            if not self.replies:
                continue
            peer.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            peer.close()
        self._thread.join(5)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def connection(peer: Peer) -> Iterator[Connection]:
    address = read(f"redis://127.0.0.1:{peer.port}/0", {"socket_timeout": 2}).address
    connection = Connection(address, BROKER)
    yield connection
    connection.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_a_push_that_came_with_a_reply_is_not_overheard(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"+PONG\r\n" + PUSH]
    assert connection.call(("PING",), soon()) == b"PONG"
    assert not connection.pushes
    connection.take_pushes()
    assert [push[0] for push in connection.pushes] == [b"invalidate"]


def test_a_push_before_a_reply_is_not_the_reply(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, PUSH + b":3\r\n"]
    assert connection.call(("LPUSH", "q", b"x"), soon()) == 3
    assert len(connection.pushes) == 1


def test_empty_replies_are_replies(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"_\r\n#f\r\n*0\r\n$0\r\n\r\n"]
    data = pack(("X",)) * 4
    assert connection.exchange(data, 4, soon()) == [None, False, [], b""]


def test_a_reply_in_pieces(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"$10\r\n012", b"3456789\r\n"]
    done: list[bytes] = []
    thread = threading.Thread(target=lambda: done.append(connection.call(("GET", "k"), soon())))
    thread.start()
    while len(peer.heard) < 2:
        time.sleep(0.001)
    peer._peers[0].sendall(b"3456789\r\n")
    thread.join(5)
    assert done == [b"0123456789"]


def test_a_hang_up_is_unknown_for_the_broker(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, None, HELLO, b"+PONG\r\n"]
    with pytest.raises(OutcomeUnknown, match=r"was lost before the reply came \(the server closed"):
        connection.call(("LPUSH", "q", b"x"), soon())
    assert not connection.connected
    assert connection.call(("PING",), soon()) == b"PONG"
    assert connection.generation == 2


def test_a_hang_up_is_unavailable_for_the_result_store(peer: Peer) -> None:
    peer.replies = [HELLO, None, b""]
    address = read(f"redis://127.0.0.1:{peer.port}/0", {}).address
    connection = Connection(address, BACKEND)
    with pytest.raises(BackendUnavailable, match="The connection to the result store redis://"):
        connection.call(("GET", "k"), soon())


def test_a_refusal_is_a_sentence(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"]
    with pytest.raises(BrokerUnavailable, match="is out of memory") as caught:
        connection.call(("LPUSH", "q", b"x"), soon())
    assert "Redis says: OOM" in str(caught.value)
    assert connection.connected


def test_what_is_no_reply_at_all_ends_the_connection(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"HTTP/1.1 200 OK\r\n\r\n"]
    with pytest.raises(OutcomeUnknown):
        connection.call(("PING",), soon())
    assert not connection.connected


def test_a_deadline_that_has_passed_sends_nothing(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"+PONG\r\n"]
    assert connection.call(("PING",), soon()) == b"PONG"
    with pytest.raises(BrokerUnavailable, match="timed out"):
        connection.call(("LPUSH", "q", b"x"), soon(-1))
    assert len(peer.heard) == 2


def test_any_timeout_may_be_asked_for(peer: Peer, connection: Connection) -> None:
    peer.replies = [HELLO, b"+PONG\r\n"]
    assert connection.call(("PING",), float("inf")) == b"PONG"


def test_the_password_stays_out_of_sight(peer: Peer) -> None:
    peer.replies = [b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"]
    address = read(f"redis://ann:hunter2@127.0.0.1:{peer.port}/0", {}).address
    connection = Connection(address, BROKER)
    with pytest.raises(BrokerUnavailable, match="does not accept this user and password") as caught:
        connection.ensure(soon())
    assert "hunter2" not in str(caught.value)
    assert b"hunter2" in peer.heard[0]


def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = Connection(read(f"redis://127.0.0.1:{port}/0", {}).address, BROKER)
    with pytest.raises(BrokerUnavailable, match="cannot be reached") as caught:
        connection.ensure(soon())
    assert str(Endpoint("127.0.0.1", port)) in str(caught.value)
