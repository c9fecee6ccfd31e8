"""Sends by ``delay``; bulk is a group, the one call Celery has for many tasks."""

from __future__ import annotations

from celery import group

from benchmarks.peers.celery.app import add
from benchmarks.peers.client import serve


class Sender:
    def send(self, i):
        add.delay(i, 1)

    def send_many(self, first, count):
        group(add.s(first + i, 1) for i in range(count)).apply_async()

    def call(self, i):
        return add.delay(i, 1).get(timeout=10)

    def close(self):
        pass


if __name__ == "__main__":
    serve(Sender)
