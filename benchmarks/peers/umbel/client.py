"""Sends by ``delay``; bulk is ``send_many``. BENCH_ASYNC=1 sends the coroutine task."""

from __future__ import annotations

import os

from benchmarks.peers.client import serve
from benchmarks.peers.umbel.app import add, add_async

task = add_async if os.environ.get("BENCH_ASYNC") == "1" else add


class Sender:
    def send(self, i: int) -> None:
        task.delay(i, 1)

    def send_many(self, first: int, count: int) -> None:
        task.send_many((first + i, 1) for i in range(count))

    def call(self, i: int) -> int:
        return task.delay(i, 1).get(timeout=10)

    def close(self) -> None:
        pass


if __name__ == "__main__":
    serve(Sender)
