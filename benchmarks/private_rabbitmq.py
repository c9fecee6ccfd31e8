"""A RabbitMQ node of the benchmark's own, with an empty virtual host for each measurement.

Used by the harness. Results rest in the Redis of the harness, which is emptied with it; the node is
``torture.rabbitmq_node``'s.
"""

from __future__ import annotations

import itertools

from torture.rabbitmq_node import RabbitNode

from benchmarks import processes
from benchmarks.private_redis import PrivateRedis


class BenchRabbit:
    """Started when it is made; ``close`` ends it. Raises RuntimeError without the programs."""

    def __init__(self, results: PrivateRedis) -> None:
        self.results = results
        self._node = RabbitNode()
        try:
            self._node.start()
        except BaseException:
            self._node.close()
            raise
        self._numbers = itertools.count(1)
        self._vhost = ""

    @property
    def version(self) -> str:
        """The version of the server."""
        return self._node.ctl("version").strip()

    @property
    def url(self) -> str:
        """The address of the virtual host of this measurement."""
        return f"amqp://guest:guest@127.0.0.1:{self._node.port}/{self._vhost}"

    def reset(self) -> None:
        """Make the virtual host anew, and empty the Redis."""
        self.results.reset()
        if self._vhost:
            self._node.ctl("delete_vhost", self._vhost)
        self._vhost = f"bench-{next(self._numbers)}"
        self._node.ctl("add_vhost", self._vhost)
        self._node.ctl("set_permissions", "-p", self._vhost, "guest", ".*", ".*", ".*")

    def cpu_seconds(self) -> float:
        """Return what the node and the Redis have spent."""
        return processes.cpu_seconds([self._node.pid]) + self.results.cpu_seconds()

    def close(self) -> None:
        self._node.close()
