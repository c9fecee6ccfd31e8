"""What a publisher says when the connection ends: surely not sent, or perhaps."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from pamqp import commands

from umbel.drivers.amqp.address import read
from umbel.drivers.amqp.frames import Assembler, Event, Method, method_frame
from umbel.drivers.amqp.publisher import AmqpPublisher, Parcel
from umbel.drivers.amqp.topology import Target
from umbel.errors import BrokerUnavailable, OutcomeUnknown
from umbel.model.message import EncodedMessage

PARCEL = Parcel(
    EncodedMessage(
        headers={"id": "x"}, properties={}, body=b"[]", content_type="", content_encoding=""
    ),
    Target("", "celery"),
)
ANSWERS = {
    commands.Connection.StartOk: (0, commands.Connection.Tune(10, 131072, 60)),
    commands.Connection.Open: (0, commands.Connection.OpenOk()),
    commands.Channel.Open: (1, commands.Channel.OpenOk()),
    commands.Confirm.Select: (1, commands.Confirm.SelectOk()),
}
START = commands.Connection.Start(0, 9, {"product": "Fake"}, "PLAIN", "en_US")
SHUTDOWN = commands.Connection.Close(320, "CONNECTION_FORCED - shutdown", 0, 0)


class FakeBroker:
    """Greets as RabbitMQ does, and ends the connection when a message comes, or before."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://127.0.0.1:{self._server.getsockname()[1]}//"
        self.last_words = b""
        self.ends_early = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        peer, _ = self._server.accept()
        with peer:
            peer.recv(8)
            peer.sendall(method_frame(0, START))
            assembler = Assembler()
            while data := peer.recv(65536):
                for event in assembler.feed(data):
                    if self._answer(peer, event):
                        return

    def _answer(self, peer: socket.socket, event: Event) -> bool:
        assert isinstance(event, Method)
        method = event.method
        if isinstance(method, commands.Basic.Publish):
            peer.sendall(self.last_words)
            return True
        if isinstance(method, commands.Confirm.Select) and self.ends_early:
            peer.sendall(self.last_words)
            return True
        answer = ANSWERS.get(type(method))
        if answer is not None:
            peer.sendall(method_frame(*answer))
        return False

    def close(self) -> None:
        self._thread.join(10)
        self._server.close()


@pytest.fixture
def fake() -> Iterator[FakeBroker]:
    fake = FakeBroker()
    yield fake
    fake.close()


@pytest.mark.parametrize("last_words", [b"", method_frame(0, SHUTDOWN)], ids=["cut", "shutdown"])
def test_what_was_sent_and_not_confirmed_may_have_arrived(
    fake: FakeBroker, last_words: bytes
) -> None:
    fake.last_words = last_words
    publisher = AmqpPublisher(read(fake.url, {}))
    with pytest.raises(OutcomeUnknown):
        publisher.post([PARCEL], timeout=10)
    publisher.close()


@pytest.mark.parametrize("last_words", [b"", method_frame(0, SHUTDOWN)], ids=["cut", "shutdown"])
def test_what_was_not_sent_has_not_arrived(fake: FakeBroker, last_words: bytes) -> None:
    fake.last_words, fake.ends_early = last_words, True
    publisher = AmqpPublisher(read(fake.url, {}))
    with pytest.raises(BrokerUnavailable):
        publisher.post([PARCEL], timeout=10)
    publisher.close()
