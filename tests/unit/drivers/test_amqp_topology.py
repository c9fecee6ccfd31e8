"""What is declared leads each message to its queue, after the time it has to rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pamqp import commands

from umbel.drivers.amqp.topology import (
    DELIVERY,
    LONGEST_DELAY,
    Target,
    arguments_of,
    delay_bindings,
    delay_declarations,
    delayed_target,
    queue_declarations,
    target_of,
)
from umbel.errors import ImproperlyConfigured
from umbel.model.queues import Queue


class Broker:
    """As much of RabbitMQ as routes: topic exchanges, and queues whose time to live passes."""

    def __init__(self, *queues: Queue) -> None:
        self.bindings: list[tuple[str, str, str, str]] = []
        self.lives: dict[str, dict[str, Any]] = {}
        made = [*delay_declarations("classic")]
        for queue in queues:
            made += [*queue_declarations(queue), *delay_bindings(queue)]
        for _, method, _ in made:
            if isinstance(method, commands.Queue.Bind):
                self.bindings.append((method.exchange, method.routing_key, "queue", method.queue))
            elif isinstance(method, commands.Exchange.Bind):
                place = (method.source, method.routing_key, "exchange", method.destination)
                self.bindings.append(place)
            elif isinstance(method, commands.Queue.Declare):
                self.lives[method.queue] = dict(method.arguments or {})

    def arrive(self, target: Target, rested: float = 0.0) -> Iterator[tuple[str, float]]:
        """Yield the queues that a message comes to, and the seconds it rested on the way."""
        for exchange, pattern, kind, place in self.bindings:
            if exchange != target.exchange or not _matches(pattern, target.routing_key):
                continue
            if kind == "exchange":
                yield from self.arrive(Target(place, target.routing_key), rested)
                continue
            life = self.lives[place]
            if "x-message-ttl" not in life:
                yield place, rested
                continue
            onward = Target(life["x-dead-letter-exchange"], target.routing_key)
            yield from self.arrive(onward, rested + life["x-message-ttl"] / 1000)


def _matches(pattern: str, key: str) -> bool:
    return _fits(pattern.split("."), key.split("."))


def _fits(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return _fits(pattern[1:], words) or (bool(words) and _fits(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and _fits(pattern[1:], words[1:])


@pytest.mark.parametrize("seconds", [0.2, 1, 2, 3, 60, 3599.5, 86_400, LONGEST_DELAY])
def test_a_delay_rests_as_long_as_it_says_and_ends_in_its_queue(seconds: float) -> None:
    queue, alike = Queue("shop"), Queue("a.shop")
    found = list(Broker(queue, alike).arrive(delayed_target(queue, seconds)))
    assert found == [("shop", -(-seconds // 1))]


def test_what_is_longer_than_the_longest_comes_up_then() -> None:
    found = list(Broker(Queue("shop")).arrive(delayed_target(Queue("shop"), 10.0 * LONGEST_DELAY)))
    assert found == [("shop", float(LONGEST_DELAY))]


def test_a_name_too_long_for_delays_is_refused_in_words() -> None:
    with pytest.raises(ImproperlyConfigured, match="give the queue a shorter name"):
        delayed_target(Queue("x" * 200), 1.0)
    with pytest.raises(ImproperlyConfigured, match="longer than the 255 bytes AMQP allows"):
        list(queue_declarations(Queue("x" * 256)))


def test_queues_on_direct_exchanges_are_reached_by_name_and_others_by_their_exchange() -> None:
    assert target_of(Queue("shop", exchange="any")) == Target("", "shop")
    topic = Queue("shop", exchange="orders", exchange_type="topic", routing_key="order.#")
    assert target_of(topic) == Target("orders", "order.#")
    assert target_of(Queue("all", exchange_type="fanout")) == Target("all", "all")


def test_every_queue_gets_its_own_delays_and_no_other_s() -> None:
    names = ["a", "b", "a.b", "b.a"]
    broker = Broker(*map(Queue, names))
    for name in names:
        assert [place for place, _ in broker.arrive(delayed_target(Queue(name), 5))] == [name]


@pytest.mark.parametrize(
    ("queue", "binding"),
    [
        (Queue("q"), {}),
        (Queue("q", binding_arguments={"x-why": "mine"}), {"x-why": "mine"}),
        (Queue("q", exchange_type="headers"), {"x-match": "all"}),
        (
            Queue(
                "q", exchange_type="headers", binding_arguments={"x-match": "any", "region": "eu"}
            ),
            {"x-match": "any", "region": "eu"},
        ),
    ],
)
def test_a_queue_is_bound_with_its_arguments(queue: Queue, binding: dict[str, Any]) -> None:
    *_, (_, bind, _) = queue_declarations(queue)
    assert isinstance(bind, commands.Queue.Bind)
    assert (bind.arguments or {}) == binding


def test_a_priority_is_an_argument_of_classic_queues_only() -> None:
    assert arguments_of(Queue("q", max_priority=9)) == {"x-max-priority": 9}
    quorum = Queue("q", max_priority=9, arguments={"x-queue-type": "quorum"})
    assert arguments_of(quorum) == {"x-queue-type": "quorum"}
    assert DELIVERY == "celery_delayed_delivery"  # Celery's own
