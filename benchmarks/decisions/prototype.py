"""What the decision prototypes share: envelopes, scripts, frames, the executor, the rates.

It is a bare worker on purpose: it decodes Celery's envelope, calls ``add``, encodes the result
document and nothing else, so that what is compared is the arrangement of processes and threads.
It must not import ``umbel``: these figures were wanted before there was one.
"""

from __future__ import annotations

import base64
import os
import socket
import statistics
import struct
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis import Redis

QUEUE = "bench"
LENGTH = struct.Struct("<I")

# KEYS: queue, claims of this owner. ARGV: limit, first receipt for new claims, result lifetime,
# then (receipt, result key, document)*. Returns the envelopes claimed. A document whose receipt is
# no longer in the claims is dropped: HDEL is the fence.
EXCHANGE = """
for i = 4, #ARGV, 3 do
  if redis.call('HDEL', KEYS[2], ARGV[i]) == 1 then
    redis.call('SETEX', ARGV[i + 1], ARGV[3], ARGV[i + 2])
    redis.call('PUBLISH', ARGV[i + 1], ARGV[i + 2])
  end
end
if ARGV[1] == '0' then return {} end
local raws = redis.call('RPOP', KEYS[1], ARGV[1])
if not raws then return {} end
local pairs_, receipt = {}, tonumber(ARGV[2])
for i, raw in ipairs(raws) do
  pairs_[2 * i - 1] = receipt + i - 1
  pairs_[2 * i] = raw
end
redis.call('HSET', KEYS[2], unpack(pairs_))
return raws
"""


class Headers(msgspec.Struct):
    """The headers a supervisor looks at."""

    task: str
    id: str
    eta: str | None = None
    expires: str | None = None
    retries: int | None = 0
    timelimit: tuple[float | None, float | None] = (None, None)
    ignore_result: bool | None = None


class Peek(msgspec.Struct):
    """An envelope whose body stays closed."""

    headers: Headers


class Envelope(msgspec.Struct):
    """An envelope with its body."""

    headers: Headers
    body: str


peek = msgspec.json.Decoder(Peek).decode
open_envelope = msgspec.json.Decoder(Envelope).decode
loads = msgspec.json.Decoder().decode
dumps = msgspec.json.Encoder().encode
pack = msgspec.msgpack.Encoder().encode
unpack_raws = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode
unpack_reports = msgspec.msgpack.Decoder(list[tuple[int, str, bytes]]).decode


def envelope(x: int, y: int) -> bytes:
    """Return a call of ``add`` as a Celery client leaves it on Redis."""
    task_id = str(uuid.uuid4())
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    return dumps(
        {
            "body": base64.b64encode(dumps([[x, y], {}, embed])).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": "bench.add",
                "id": task_id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": task_id,
                "parent_id": None,
                "argsrepr": f"({x}, {y})",
                "kwargsrepr": "{}",
                "origin": "gen1@bench",
                "ignore_result": False,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": str(uuid.uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def fill(client: Redis, count: int) -> None:
    """Empty the database and queue ``count`` calls."""
    client.flushdb()
    for start in range(0, count, 500):
        client.lpush(QUEUE, *(envelope(start + i, 1) for i in range(min(500, count - start))))


class Load(msgspec.Struct, frozen=True):
    """How heavy a task is."""

    padding: str = ""
    """The result, where a large one is wanted."""
    spins: int = 0
    """Rounds of a loop that stand for signals, hooks, logging and the user's own code."""


def calibrate(microseconds: float) -> int:
    """Return the spins that cost this much CPU here."""
    rounds = 200_000
    started = time.process_time()
    spin(rounds)
    return int(microseconds * 1e-6 * rounds / (time.process_time() - started))


def spin(rounds: int) -> None:
    """Burn CPU."""
    for _ in range(rounds):
        pass


def run(receipt: int, raw: bytes, load: Load) -> tuple[int, str, bytes]:
    """Do what an executor does with one message."""
    message = open_envelope(raw)
    args, kwargs, _embed = loads(base64.b64decode(message.body))
    value = add(*args, **kwargs)
    spin(load.spins)
    task_id = message.headers.id
    document: dict[str, object] = {
        "status": "SUCCESS",
        "result": load.padding or value,
        "traceback": None,
        "children": [],
        "date_done": datetime.now(UTC).isoformat(),
        "task_id": task_id,
    }
    return receipt, "celery-task-meta-" + task_id, dumps(document)


def add(x: int, y: int) -> int:
    """Be the task."""
    return x + y


# --- frames between processes ---------------------------------------------------------------------


def send_frame(sock: socket.socket, payload: bytes) -> None:
    """Send one length-prefixed frame."""
    sock.sendall(LENGTH.pack(len(payload)) + payload)


class Frames:
    """Reads length-prefixed frames from a socket that may block."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()

    def one(self) -> bytes:
        """Wait for a whole frame. Raises EOFError when the other side is gone."""
        while (frame := self.ready()) is None:
            self.feed()
        return frame

    def ready(self) -> bytes | None:
        """Return a frame that has arrived wholly, or None."""
        buffer = self.buffer
        if len(buffer) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return None
        frame = bytes(memoryview(buffer)[LENGTH.size : end])
        del buffer[:end]
        return frame

    def feed(self) -> None:
        """Read what is there, waiting for the first byte."""
        data = self.sock.recv(262_144)
        if not data:
            raise EOFError
        self.buffer += data


def executor(sock: socket.socket, load: Load) -> None:
    """Run batches until an empty one asks for the CPU that was spent."""
    frames = Frames(sock)
    while batch := unpack_raws(frames.one()):
        send_frame(sock, pack([run(receipt, raw, load) for receipt, raw in batch]))
    send_frame(sock, pack(cpu_seconds()))


def fork_executors(count: int, load: Load) -> list[socket.socket]:
    """Fork ``count`` executors; return the supervisor's ends of their sockets."""
    ends: list[socket.socket] = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            for other in ends:
                other.close()
            try:
                executor(theirs, load)
            finally:
                os._exit(0)
        theirs.close()
        ends.append(ours)
    return ends


def end_executors(ends: Sequence[socket.socket]) -> float:
    """End the executors; return the CPU seconds they spent together."""
    total = 0.0
    for end in ends:
        end.setblocking(True)
        send_frame(end, pack([]))
        total += msgspec.msgpack.decode(Frames(end).one(), type=float)
        end.close()
        os.wait()
    return total


# --- figures --------------------------------------------------------------------------------------


def cpu_seconds() -> float:
    """Return user and system time of this process alone."""
    return time.process_time()


def server_cpu(client: Redis) -> float:
    """Return the CPU seconds the server has spent."""
    info: dict[str, Any] = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def middle_rate(marks: Sequence[tuple[float, int]]) -> float:
    """Return tasks/s between the 5 % and 95 % points of ``(moment, tasks settled)`` marks."""
    ordered = sorted(marks)
    total = sum(count for _, count in ordered)
    done, first, last = 0, ordered[0], ordered[-1]
    first_done, last_done = 0, total
    seen_first = False
    for moment, count in ordered:
        done += count
        if not seen_first and done >= total * 0.05:
            first, first_done, seen_first = (moment, done), done, True
        if done <= total * 0.95:
            last, last_done = (moment, done), done
    return (last_done - first_done) / (last[0] - first[0])


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median with the smallest and the largest beside it."""
    middle = f"{statistics.median(values):,.{digits}f}"
    return f"{middle} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"
