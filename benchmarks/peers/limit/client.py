"""Builds an envelope and pushes it; bulk is one push of two hundred."""

from __future__ import annotations

import msgspec
from redis import Redis

from benchmarks.decisions import prototype
from benchmarks.peers.client import serve
from benchmarks.peers.surroundings import REDIS_PORT


class Sender:
    def __init__(self) -> None:
        self.client = Redis(port=REDIS_PORT)
        self.listener = self.client.pubsub(  # type: ignore[no-untyped-call]  # theirs
            ignore_subscribe_messages=True
        )
        self.listener.psubscribe("celery-task-meta-*")
        self.listener.get_message(timeout=1)

    def send(self, i: int) -> None:
        self.client.lpush(prototype.QUEUE, prototype.envelope(i, 1))

    def send_many(self, first: int, count: int) -> None:
        for start in range(first, first + count, 200):
            self.client.lpush(
                prototype.QUEUE,
                *(prototype.envelope(i, 1) for i in range(start, min(start + 200, first + count))),
            )

    def call(self, i: int) -> object:
        raw = prototype.envelope(i, 1)
        channel = ("celery-task-meta-" + prototype.peek(raw).headers.id).encode()
        self.client.lpush(prototype.QUEUE, raw)
        while (told := self.listener.get_message(timeout=10)) is None or told["channel"] != channel:
            pass
        return msgspec.json.decode(told["data"])["result"]

    def close(self) -> None:
        self.listener.close()
        self.client.close()


if __name__ == "__main__":
    serve(Sender)
