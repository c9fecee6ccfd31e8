"""Names of queues and exchanges, and how a message gets to one: what Celery declares, and more.

Used by ``publisher``, ``consumer`` and ``broker``. Pure: returns what is to be declared, in order.

Delays rest in RabbitMQ, in the topology that Celery 5.5 brought for quorum queues: exchanges and
queues ``celery_delayed_27`` down to ``celery_delayed_0``, one for each bit of the delay in seconds.
A message with a 1 in bit n rests 2ⁿ seconds in queue n and goes on to n-1, in the end to the
exchange ``celery_delayed_delivery``. Celery uses it for queues on exchanges that are not direct;
here every queue is bound to its end, so every queue can have delays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgspec
from pamqp import base, commands

from umbel.errors import ImproperlyConfigured
from umbel.model.queues import Queue

LEVELS = 28
LONGEST_DELAY = 2**LEVELS - 1
"""Seconds. What is due later comes up then, and rests again."""
DELIVERY = "celery_delayed_delivery"
QUARANTINE = "umbel.quarantine."
_MOST_NAME = 255
_LONGEST_KEY = 255 - 2 * LEVELS

_Declaration: TypeAlias = tuple[str, base.Frame, type[base.Frame]]


class Target(msgspec.Struct, frozen=True):
    """Where a message is published to."""

    exchange: str
    routing_key: str


def is_direct(queue: Queue) -> bool:
    """Tell whether messages for the queue go to it by name, past its exchange, as in Celery."""
    return queue.exchange_type == "direct"


def target_of(queue: Queue) -> Target:
    """Return where a message for this queue is published to, now."""
    if is_direct(queue):
        return Target("", queue.name)
    return Target(exchange_name(queue), key_of(queue))


def delayed_target(queue: Queue, seconds: float) -> Target:
    """Return where a message is published to that must rest this long; rounded up to seconds.

    Raises ImproperlyConfigured where the routing key would be too long.
    """
    whole = min(max(1, math.ceil(seconds)), LONGEST_DELAY)
    bits = ".".join(format(whole, f"0{LEVELS}b"))
    key = queue.name if is_direct(queue) else key_of(queue)
    if len(key.encode()) > _LONGEST_KEY:
        raise ImproperlyConfigured(
            f"The routing key {key!r} is longer than {_LONGEST_KEY} bytes, so RabbitMQ cannot keep "
            "delayed messages for it: give the queue a shorter name."
        )
    return Target(f"celery_delayed_{LEVELS - 1}", f"{bits}.{key}")


def exchange_name(queue: Queue) -> str:
    """Return the queue's exchange; one that names none has an exchange of its own name."""
    return queue.exchange or queue.name


def key_of(queue: Queue) -> str:
    """Return the routing key of the queue."""
    return queue.name if queue.routing_key is None else queue.routing_key


def is_quorum(queue: Queue) -> bool:
    """Tell whether the queue was asked to be a quorum queue."""
    return queue.arguments.get("x-queue-type") == "quorum"


def arguments_of(queue: Queue) -> dict[str, Any]:
    """Return the arguments the queue is declared with: the same as Celery's."""
    arguments = dict(queue.arguments)
    if queue.max_priority is not None and not is_quorum(queue):
        arguments.setdefault("x-max-priority", queue.max_priority)
    return arguments


def queue_declarations(queue: Queue) -> Iterator[_Declaration]:
    """Yield what makes the queue exist and be reached, in order: what, method, reply."""
    name, exchange = queue.name, exchange_name(queue)
    if len(name.encode()) > _MOST_NAME:
        raise ImproperlyConfigured(
            f"The queue name {name[:40]!r}... is longer than the {_MOST_NAME} bytes AMQP allows."
        )
    yield (
        f"exchange {exchange!r}",
        commands.Exchange.Declare(
            exchange=exchange, exchange_type=queue.exchange_type, durable=True
        ),
        commands.Exchange.DeclareOk,
    )
    yield (
        f"queue {name!r}",
        commands.Queue.Declare(queue=name, durable=True, arguments=arguments_of(queue)),
        commands.Queue.DeclareOk,
    )
    binding: dict[str, Any] = {}
    if queue.exchange_type == "headers":
        # Without conditions of its own the queue takes every message, which is what `all` of no
        # headers means.
        binding = {"x-match": "all"}
    yield (
        f"queue {name!r}",
        commands.Queue.Bind(
            queue=name, exchange=exchange, routing_key=key_of(queue), arguments=binding
        ),
        commands.Queue.BindOk,
    )


def delay_declarations(queue_type: str) -> Iterator[_Declaration]:
    """Yield the 28 levels and their end, from the longest delay down."""
    made = f"exchange {DELIVERY!r}"
    yield (
        made,
        commands.Exchange.Declare(exchange=DELIVERY, exchange_type="topic", durable=True),
        commands.Exchange.DeclareOk,
    )
    for level in range(LEVELS):
        name = f"celery_delayed_{level}"
        below = f"celery_delayed_{level - 1}" if level else DELIVERY
        skipped = "*." * (LEVELS - 1 - level)
        arguments: dict[str, Any] = {
            "x-queue-type": queue_type,
            "x-overflow": "reject-publish",
            "x-message-ttl": 2**level * 1000,
            "x-dead-letter-exchange": below,
        }
        if queue_type == "quorum":
            arguments["x-dead-letter-strategy"] = "at-least-once"
        yield (
            f"exchange {name!r}",
            commands.Exchange.Declare(exchange=name, exchange_type="topic", durable=True),
            commands.Exchange.DeclareOk,
        )
        yield (
            f"queue {name!r}",
            commands.Queue.Declare(queue=name, durable=True, arguments=arguments),
            commands.Queue.DeclareOk,
        )
        yield (
            f"queue {name!r}",
            commands.Queue.Bind(queue=name, exchange=name, routing_key=f"{skipped}1.#"),
            commands.Queue.BindOk,
        )
        yield (
            f"exchange {name!r}",
            commands.Exchange.Bind(destination=below, source=name, routing_key=f"{skipped}0.#"),
            commands.Exchange.BindOk,
        )


def delay_bindings(queue: Queue) -> Sequence[_Declaration]:
    """Return what leads delayed messages into the queue, ours and those of Celery senders."""
    # Exactly 28 words before the name: with "#." a queue "b" would get what is for "a.b" too.
    ours = commands.Queue.Bind(
        queue=queue.name, exchange=DELIVERY, routing_key="*." * LEVELS + queue.name
    )
    made: list[_Declaration] = [(f"queue {queue.name!r}", ours, commands.Queue.BindOk)]
    if is_direct(queue):
        return made
    exchange, key = exchange_name(queue), f"#.{key_of(queue)}"
    onward = commands.Exchange.Bind(destination=exchange, source=DELIVERY, routing_key=key)
    into = commands.Queue.Bind(queue=queue.name, exchange=exchange, routing_key=key)
    made.append((f"exchange {exchange!r}", onward, commands.Exchange.BindOk))
    made.append((f"queue {queue.name!r}", into, commands.Queue.BindOk))
    return made


def quarantine_of(queue: str) -> Queue:
    """Return the queue in which what is set aside from ``queue`` rests."""
    return Queue(f"{QUARANTINE}{queue}")
