"""Sends by ``enqueue``; bulk is ``enqueue_many``."""

from __future__ import annotations

from rq import Queue

from benchmarks.peers.client import serve
from benchmarks.peers.rq.app import RESULT_TTL, queue

ADD = "benchmarks.peers.rq.app.add"


class Sender:
    def send(self, i):
        queue.enqueue(ADD, args=(i, 1), result_ttl=RESULT_TTL)

    def send_many(self, first, count):
        queue.enqueue_many(
            [
                Queue.prepare_data(ADD, args=(first + i, 1), result_ttl=RESULT_TTL)
                for i in range(count)
            ]
        )

    def call(self, i):
        job = queue.enqueue(ADD, args=(i, 1), result_ttl=RESULT_TTL)
        return job.latest_result(timeout=10).return_value

    def close(self):
        pass


if __name__ == "__main__":
    serve(Sender)
