"""A queue as receivers of ``before_task_publish`` expect it in ``declare``: shaped as kombu's.

Called by ``sending``, and only while somebody listens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbel.model.queues import Queue


class DeclaredExchange(str):
    """An exchange by its name, with ``name`` and ``type``."""

    type: str

    def __new__(cls, name: str, kind: str) -> DeclaredExchange:
        made = super().__new__(cls, name)
        made.type = kind
        return made

    @property
    def name(self) -> str:
        """The name."""
        return str(self)


class DeclaredQueue:
    """A queue with ``name``, ``exchange``, ``routing_key``, ``durable`` and ``queue_arguments``."""

    def __init__(self, queue: Queue) -> None:
        self.name = queue.name
        self.exchange = DeclaredExchange(queue.exchange, queue.exchange_type or "direct")
        self.routing_key = queue.routing_key or queue.name
        self.durable = True
        self.queue_arguments = dict(queue.arguments or {})

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange or '(default)'} -> {self.routing_key}>"
