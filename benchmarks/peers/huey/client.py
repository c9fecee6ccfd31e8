"""Sends by calling the task; Huey has no bulk call, so bulk is a loop."""

from __future__ import annotations

from benchmarks.peers.client import serve
from benchmarks.peers.huey.app import add


class Sender:
    def send(self, i):
        add(i, 1)

    def send_many(self, first, count):
        for i in range(first, first + count):
            add(i, 1)

    def call(self, i):
        return add(i, 1).get(blocking=True, timeout=10, backoff=1.0, max_delay=0.001)

    def close(self):
        pass


if __name__ == "__main__":
    serve(Sender)
