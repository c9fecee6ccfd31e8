"""The scale of priorities on RabbitMQ: order kept, ends kept, nothing mapped twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp.commands import Basic

from umbel.config.conf import Conf
from umbel.config.driver_options import broker_options
from umbel.drivers.amqp import AmqpDriver
from umbel.drivers.amqp.frames import Delivered
from umbel.drivers.amqp.messages import again, message_of, properties_of
from umbel.drivers.amqp.priorities import AS_THEY_ARE, Ranks, ranks_of
from umbel.errors import ImproperlyConfigured
from umbel.model.message import EncodedMessage
from umbel.model.queues import Queue

URL = "amqp://rabbit.example//"
SCALE = range(10)

greatest = st.integers(min_value=1, max_value=255) | st.none()


def queue(most: int | None) -> Queue:
    return Queue("q", max_priority=most)


def counted_as(wire: int, most: int | None) -> int:
    """Return what RabbitMQ takes a priority for: at most the greatest of the queue."""
    return wire if most is None else min(wire, most)


@given(greatest)
def test_more_urgent_here_is_never_less_urgent_there(most: int | None) -> None:
    ranks = ranks_of(queue(most), "umbel")
    wire = [counted_as(ranks.sent(each), most) for each in SCALE]
    assert wire == sorted(wire, reverse=True)
    assert (wire[0], wire[-1]) == (min(most or 9, 9), 0)
    if most is None or most >= 9:
        assert len(set(wire)) == 10
    else:
        assert set(wire) == set(range(most + 1))  # every step that the queue has is used


@given(greatest, st.integers(min_value=0, max_value=9))
def test_what_is_read_and_sent_again_keeps_its_place(most: int | None, priority: int) -> None:
    ranks = ranks_of(queue(most), "umbel")
    wire = ranks.sent(priority)
    shown = ranks.received(wire)
    assert ranks.sent(shown) == wire
    assert shown <= priority
    if most is None or most >= 9:
        assert shown == priority


def test_a_queue_with_four_steps_has_those_of_redis() -> None:
    ranks = ranks_of(queue(3), "umbel")
    assert [ranks.sent(each) for each in SCALE] == [3, 3, 3, 2, 2, 2, 1, 1, 1, 0]
    assert [ranks.received(each) for each in (3, 2, 1, 0)] == [0, 3, 6, 9]


def test_what_others_send_is_shown_on_the_scale() -> None:
    ranks = ranks_of(queue(255), "umbel")
    assert [ranks.received(each) for each in (None, 0, 4, 9, 10, 200)] == [9, 9, 5, 0, 0, 0]


def test_a_message_without_priority_is_the_most_urgent() -> None:
    assert Ranks(9).sent(None) == 9


@pytest.mark.parametrize(
    ("one", "most"),
    [
        (Queue("q", arguments={"x-max-priority": 5}), 5),
        (Queue("q", max_priority=5, arguments={"x-max-priority": 3}), 3),
        (Queue("q", max_priority=0), 9),
        (Queue("q"), 9),
        # A quorum queue takes no greatest priority: RabbitMQ 4 parts 0 to 4 from 5 and more.
        (Queue("q", max_priority=3, arguments={"x-queue-type": "quorum"}), 9),
    ],
)
def test_the_greatest_of_a_queue_is_what_it_is_declared_with(one: Queue, most: int) -> None:
    assert ranks_of(one, "umbel") == Ranks(most)
    assert ranks_of(one, "celery") == AS_THEY_ARE


def test_urgency_is_compared_in_either_scale() -> None:
    assert Ranks(9).urgency(0) > Ranks(9).urgency(3)
    assert AS_THEY_ARE.urgency(3) > AS_THEY_ARE.urgency(0)
    assert AS_THEY_ARE.urgency("high") == 0


def message(priority: Any) -> EncodedMessage:
    return EncodedMessage(
        headers={"task": "t"},
        properties={"priority": priority},
        body=b"",
        content_type="a/b",
        content_encoding="utf-8",
    )


def delivered(sent: Basic.Properties) -> Delivered:
    return Delivered(1, "c", 1, False, "", "q", sent, b"")


@pytest.mark.parametrize("priority", [None, *SCALE])
def test_a_message_given_back_is_mapped_once(priority: int | None) -> None:
    ranks = Ranks(9)
    sent = properties_of(message(priority), ranks)
    assert sent.priority == 9 - (priority or 0)
    got = message_of(delivered(sent), ranks)
    assert got.properties["priority"] == (priority or 0)
    assert properties_of(again(got, tried=1), ranks).priority == sent.priority


@pytest.mark.parametrize("priority", [None, *SCALE, 200])
def test_the_scale_of_celery_changes_nothing(priority: int | None) -> None:
    sent = properties_of(message(priority))
    assert sent.priority == (priority or 0)
    got = message_of(delivered(sent))
    assert got.properties["priority"] == (priority or 0)


# --- who chooses the scale ------------------------------------------------------------------------


def highest_first(url: str = URL, *, profile: str, **changes: Any) -> bool:
    settings = Conf(profile=profile, changes=changes).settings
    return AmqpDriver(url, broker_options(settings, url)).broker().capabilities.highest_first


def test_the_profile_chooses_the_scale() -> None:
    assert not highest_first(profile="umbel")
    assert highest_first(profile="celery")


def test_an_option_chooses_another() -> None:
    celery = {"priority_scale": "celery"}
    assert highest_first(profile="umbel", broker_transport_options=celery)
    assert highest_first(f"{URL}?priority_scale=celery", profile="umbel")
    assert not highest_first(f"{URL}?priority_scale=umbel", profile="celery")


def test_a_scale_that_there_is_not() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        AmqpDriver(URL, {"priority_scale": "redis"})
    assert str(caught.value) == (
        f"The option 'priority_scale' for {URL} must be 'umbel' (0 first) or 'celery' (9 first), "
        "not 'redis'."
    )
