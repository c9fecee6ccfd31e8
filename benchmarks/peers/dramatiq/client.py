"""Sends by ``send``; bulk is a group's ``run``."""

from __future__ import annotations

import dramatiq

from benchmarks.peers.client import serve
from benchmarks.peers.dramatiq.app import add


class Sender:
    def send(self, i):
        add.send(i, 1)

    def send_many(self, first, count):
        dramatiq.group([add.message(first + i, 1) for i in range(count)]).run()

    def call(self, i):
        return add.send(i, 1).get_result(block=True, timeout=10_000)

    def close(self):
        pass


if __name__ == "__main__":
    serve(Sender)
