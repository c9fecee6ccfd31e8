"""One RabbitMQ node for all tests that break it: each leaves it running and fed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.rabbitmq_node import RabbitNode


@pytest.fixture(scope="session")
def rabbit_node() -> Iterator[RabbitNode]:
    node = RabbitNode()
    try:
        yield node.start()
    finally:
        node.close()
