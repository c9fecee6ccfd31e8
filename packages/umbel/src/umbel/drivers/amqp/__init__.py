"""RabbitMQ: broker beside Celery processes on the same queues, and ``rpc://`` results.

``drivers.opening`` calls ``open``. The socket is in ``connection``, what is declared in
``topology``, the bytes in ``frames``; docs/design/0012 tells what was chosen and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.drivers.amqp.address import read
from umbel.drivers.amqp.broker import AmqpBroker
from umbel.drivers.amqp.bus import AmqpBus
from umbel.drivers.amqp.result_backend import AmqpResultBackend, ReplyOptions
from umbel.errors import ImproperlyConfigured
from umbel.ports import Broker, Driver, ResultBackend

AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})


class AmqpDriver(Driver):
    """One virtual host of a RabbitMQ broker."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._address = read(url, options)
        self._broker = AmqpBroker(self._address)

    def broker(self) -> AmqpBroker:
        return self._broker

    def bus(self) -> AmqpBus:
        return AmqpBus(self._address)

    def result_backend(self) -> ResultBackend:
        raise ImproperlyConfigured(
            f"{self._address.url} keeps messages, not results: use rpc:// or redis://."
        )


class RpcDriver(Driver):
    """The result backend ``rpc://``, on the broker that carries the tasks."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        given = dict(options)
        replies = ReplyOptions(
            expires=given.pop("reply_expires", None),
            persistent=bool(given.pop("reply_persistent", False)),
            serializer=given.pop("reply_serializer", "json"),
        )
        broker = given.pop("reply_broker", None)
        if url.partition("://")[2]:
            broker = f"amqp://{url.partition('://')[2]}"
        if not isinstance(broker, str) or broker.partition(":")[0] not in AMQP_SCHEMES:
            raise ImproperlyConfigured(
                "rpc:// sends results through RabbitMQ, so the broker has to be amqp://; with "
                "another broker use a store such as redis:// for results."
            )
        self._result_backend = AmqpResultBackend(read(broker, given), replies)

    def broker(self) -> Broker:
        raise ImproperlyConfigured("rpc:// is for results; the broker is amqp://.")

    def result_backend(self) -> AmqpResultBackend:
        return self._result_backend


def open(url: str, options: Mapping[str, Any]) -> Driver:  # noqa: A001 - what drivers are asked for
    """Return the driver for ``url``; connects to nothing yet.

    Raises ImproperlyConfigured where the URL or an option is wrong.
    """
    if url.partition(":")[0].lower() == "rpc":
        return RpcDriver(url, options)
    return AmqpDriver(url, options)
