"""A RabbitMQ node of a test's own, which it may stop, kill, starve and start again.

It takes some seconds to start, so tests share one and use queues with random names.
"""

from __future__ import annotations

from torture import rabbitmq_node

from tests.rabbitmq_broker import missing


class RabbitNode(rabbitmq_node.RabbitNode):
    """Skips the test where there is no ``rabbitmq-server``; fails there with ``CI=true``."""

    def __init__(self) -> None:
        try:
            super().__init__()
        except RuntimeError as error:
            missing(str(error))

    def tls_url(self) -> str:
        try:
            return super().tls_url()
        except RuntimeError as error:
            missing(str(error))
