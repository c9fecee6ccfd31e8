"""Umbel's one scale of priorities beside Celery's on one queue of RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.interop.conftest import CeleryProcess
from tests.rabbitmq_broker import VirtualHost
from umbel import Umbel
from umbel.app.app import App
from umbel.testing.conformance.station import presence, take
from umbel.wire import envelope

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[VirtualHost]:
    host = VirtualHost()
    yield host
    host.close()


@pytest.fixture
def app(rabbitmq: VirtualHost) -> Iterator[App]:
    app = Umbel("ranks", broker=rabbitmq.url(), backend="memory://ranks")
    app.conf.task_queue_max_priority = 9
    yield app
    app.close()


def test_what_a_celery_client_sends_is_shown_on_our_scale(
    app: App, rabbitmq: VirtualHost, celery: Callable[..., CeleryProcess]
) -> None:
    assert celery("send_by_rank", rabbitmq.url(), "theirs").hear() == {"sent": True}
    queue = app.router.route("peer.add", {"queue": "theirs"})[0]
    consumer = app.broker.open_consumer([queue], presence=presence(), lease=60)
    shown = [envelope.load(each.raw).properties["priority"] for each in take(consumer, 4)]
    consumer.close()
    assert shown == [0, 5, 9, 9]


def test_what_we_send_has_its_rank_for_celery(
    app: App, rabbitmq: VirtualHost, celery: Callable[..., CeleryProcess]
) -> None:
    for priority in (9, 5, 0, None):
        app.send_task("peer.add", (1, 2), queue="ours", priority=priority)
    peer = celery("take_by_rank", rabbitmq.url(), "ours", "4")
    assert [peer.hear()["priority"] for _ in range(4)] == [9, 9, 4, 0]
