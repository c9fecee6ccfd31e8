"""RabbitMQ under torture: a node of our own for the messages, and a Redis beside it for results.

``stores`` opens it. The faults are for the node; the Redis is left in peace, and is what chords and
results need. What lies in a queue is read with an AMQP client of thirty lines, none of the
product's: every message is got, and goes back when the connection ends.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pamqp import base, commands, frame, header

from torture.network import Line, Network
from torture.processes import memory
from torture.rabbitmq_node import RabbitNode
from torture.redis_store import RedisStore
from torture.store import Store

_PATIENCE = 30.0
_READ = 1 << 16
_Reply = TypeVar("_Reply", bound=base.Frame)


class RabbitStore(Store):
    """A node that confirms a message when its disk has it."""

    server = True
    patience_option = "socket_timeout"
    leases = False

    def __init__(self, home: Path, *, queue_type: str = "classic") -> None:
        self.settings = {"task_default_queue_type": queue_type}
        self._node = RabbitNode()
        self._results = RedisStore(home)
        try:
            self.start()
        except BaseException:
            self._node.close()
            self._results.close()
            raise
        self._network = Network(self._node.port)

    def start(self) -> None:
        self._node.start()

    def kill(self) -> None:
        self._node.kill()

    def end(self) -> None:
        self._node.stop()

    def freeze(self, frozen: bool) -> None:
        self._node.freeze(frozen)

    def line(self) -> Line:
        return self._network.line()

    def url(self, line: Line | None = None) -> str:
        return self._node.url(None if line is None else line.port)

    def results_url(self, line: Line | None = None) -> str:  # noqa: ARG002 - it is never cut off
        return self._results.url()

    def cut_all(self) -> None:
        """Have the node close every connection, by AMQP and with a reason."""
        self._node.ctl("close_all_connections", "--vhost", "/", "torture")

    def places(self) -> Iterator[tuple[str, bytes]]:
        said = self._node.ctl("list_queues", "--no-table-headers", "name", "type", "messages")
        held = [line.split("\t") for line in said.splitlines() if line]
        names = [name for name, kind, count in held if kind != "stream" and int(count)]
        with _Reader(self._node.port) as reader:
            for name in names:
                for content in reader.messages(name):
                    yield name, content

    def size(self) -> int:
        return memory(self._node.pid)[0]

    def close(self) -> None:
        self._network.close()
        self._node.close()
        self._results.close()


class _Reader:
    """One connection that looks at messages and leaves them where they are."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self._data = b""

    def __enter__(self) -> _Reader:
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._expect(commands.Connection.Start)
        self._send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"))
        tune = self._expect(commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(0, commands.Connection.Open(virtual_host="/"))
        self._expect(commands.Connection.OpenOk)
        self._send(1, commands.Channel.Open())
        self._expect(commands.Channel.OpenOk)
        return self

    def __exit__(self, *_: object) -> None:
        self._send(0, commands.Connection.Close(200, "", 0, 0))
        self._expect(commands.Connection.CloseOk)
        self._socket.close()

    def messages(self, queue: str) -> Iterator[bytes]:
        """Yield the properties and the body of each message that nobody has a claim on."""
        while True:
            self._send(1, commands.Basic.Get(queue=queue, no_ack=False))
            if isinstance(self._next(), commands.Basic.GetEmpty):
                return
            head = self._next()
            assert isinstance(head, header.ContentHeader)
            content = repr(dict(head.properties)).encode()
            left = head.body_size
            while left:
                body = self._next()
                content += body.value
                left -= len(body.value)
            yield content

    def _send(self, channel: int, method: base.Frame) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _expect(self, kind: type[_Reply]) -> _Reply:
        found = self._next()
        if not isinstance(found, kind):
            raise RuntimeError(f"torture: RabbitMQ said {found!r} instead of {kind.__name__}")
        return found

    def _next(self) -> Any:
        while True:
            # A frame: kind, channel, size; that many bytes; one that ends it.
            size = 8 + int.from_bytes(self._data[3:7], "big") if len(self._data) >= 7 else 8
            if len(self._data) >= size and len(self._data) >= 7:
                taken, _, content = frame.unmarshal(self._data)
                self._data = self._data[taken:]
                return content
            more = self._socket.recv(_READ)
            if not more:
                raise RuntimeError("torture: RabbitMQ closed the connection")
            self._data += more
