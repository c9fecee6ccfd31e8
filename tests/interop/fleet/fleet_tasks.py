"""The app and the tasks of the mixed fleet: one program, written for Celery, run by both.

Imported by the real Celery's Python, and by ours with ``umbel-celery`` answering for ``celery``.
What happens in a task is told through lists of the Redis database ``FLEET_NOTES``.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import redis

if os.environ["FLEET_LIBRARY"] == "umbel":
    import umbel_celery_finder  # noqa: F401  # as its .pth does where it is installed

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

LIBRARY = os.environ["FLEET_LIBRARY"]
ANY = ["json", "pickle", "yaml", "msgpack"]

app = Celery("fleet", broker=os.environ["FLEET_BROKER"], backend=os.environ["FLEET_RESULTS"])
app.conf.update(accept_content=ANY, result_accept_content=ANY, worker_hijack_root_logger=False)
app.conf.update(json.loads(os.environ.get("FLEET_SETTINGS", "{}")))
notes = redis.Redis.from_url(os.environ["FLEET_NOTES"], socket_timeout=120)


def note(name: str, value: Any = "") -> None:
    """Tell the test that something happened here."""
    notes.rpush(f"note:{name}", json.dumps(value, default=str))


def wait(gate: str) -> None:
    """Go on when the test opens the gate."""
    notes.blpop([f"gate:{gate}"], 60)


SOON = 0.2
"""Seconds until a retry. Not 0: Celery sends the retry before it stores RETRY, so another of its
processes may have stored the end by then, which RETRY then overwrites for good."""


class Outer:
    class Inner(Exception):
        """Found by its qualified name only."""


class Unwritable:
    """Fits no serializer but pickle; says the same in every process."""

    def __repr__(self) -> str:
        return "<unwritable>"


@app.task
def echo(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


@app.task
def same(value: Any) -> Any:
    return value


@app.task
def kinds(*values: Any) -> list[list[str]]:
    """Say what arrived."""
    return [[type(value).__name__, repr(value)] for value in values]


@app.task
def size(text: str) -> int:
    return len(text)


@app.task
def repeat(text: str, times: int) -> str:
    return text * times


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
def who(*args: Any) -> str:
    return LIBRARY


@app.task
def add_where(numbers: list[Any], y: int) -> list[Any]:
    """Add, and append where."""
    return [numbers[0] + y, *numbers[1:], LIBRARY]


REQUEST = [
    "id",
    "root_id",
    "parent_id",
    "retries",
    "eta",
    "expires",
    "timelimit",
    "group",
    "shadow",
    "correlation_id",
    "argsrepr",
    "kwargsrepr",
    "headers",
    "origin",
    "ignore_result",
    "is_eager",
    "called_directly",
    "task",
    "args",
    "kwargs",
    "utc",
    "redelivered",
    "delivery_info",
]


@app.task(bind=True)
def request(self: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a task learns of its call."""
    told = {name: getattr(self.request, name, "absent") for name in REQUEST}
    told["custom"] = self.request.get("x-custom")
    told["now"] = time.time()
    told["library"] = LIBRARY
    return told


@app.task(bind=True)
def priority(self: Any, gate: str) -> Any:
    note(gate, self.request.delivery_info["priority"])
    return self.request.delivery_info["priority"]


@app.task
def hold(gate: str) -> str:
    note(f"began:{gate}", [LIBRARY, os.getpid()])
    wait(gate)
    note(f"ended:{gate}", LIBRARY)
    return LIBRARY


@app.task(track_started=True)
def tracked(gate: str) -> str:
    return hold(gate)


@app.task(ignore_result=True)
def ignored(name: str) -> str:
    note(name)
    return "never stored"


@app.task(bind=True)
def progress(self: Any, gate: str) -> str:
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 7})
    return hold(gate)


@app.task
def fail(kind: str) -> None:
    if kind == "builtin":
        raise KeyError("key", 42)
    if kind == "nested":
        raise Outer.Inner("text", 7)
    if kind == "unwritable":
        raise ValueError("first", Unwritable())
    if kind == "chained":
        raise RuntimeError("second") from ValueError("first")
    if kind == "hidden":
        from fleet_secrets import HiddenError

        raise HiddenError("nobody else knows me", 3)
    if kind == "reject":
        raise Reject("not this one", requeue=False)
    if kind == "ignore":
        raise Ignore()


@app.task
def unserialisable() -> object:
    return Unwritable()


@app.task(bind=True, max_retries=3)
def retry_at_gate(self: Any, gate: str) -> list[Any]:
    """Retry until the gate is open."""
    note(f"try:{gate}", [self.request.retries, LIBRARY])
    if notes.llen(f"gate:{gate}"):
        return [self.request.retries, LIBRARY]
    raise self.retry(countdown=1.0, exc=ValueError("not yet", self.request.retries), max_retries=99)


@app.task(bind=True, max_retries=2)
def retry_in_vain(self: Any) -> None:
    try:
        raise LookupError("never", self.request.retries)
    except LookupError as error:
        raise self.retry(countdown=SOON, exc=error) from None


@app.task(bind=True, max_retries=1)
def retry_without_reason(self: Any) -> None:
    raise self.retry(countdown=SOON)


@app.task(autoretry_for=(OSError,), default_retry_delay=SOON, max_retries=1)
def retry_by_itself() -> None:
    raise OSError("disk", LIBRARY)


@app.task
def soft(seconds: float) -> str:
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            time.sleep(0.01)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "never interrupted"


@app.task
def busy(seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)
    return "never interrupted"


@app.task
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@app.task(bind=True)
def spawn(self: Any, queue: str) -> Any:
    """Return a handle on a child."""
    return add.apply_async((20, 22), queue=queue)


@app.task
def parent_of(queue: str, number: int) -> int:
    for index in range(number):
        add.apply_async((index, 0), queue=queue)
    return number


@app.task
def noted(name: str, *values: Any) -> str:
    note(name, [LIBRARY, *values])
    return LIBRARY


@app.task
def swapped(value: Any, name: str) -> str:
    """A callback: the result comes first, where to note it last."""
    note(name, [LIBRARY, value])
    return LIBRARY


@app.task
def errback_by_id(task_id: str, name: str) -> None:
    """Old style: called with the id, as a message of its own."""
    note(name, [LIBRARY, task_id])


@app.task
def errback_with_error(request: Any, error: Any, trace: Any, name: str) -> None:
    """New style: called by the worker, with what happened."""
    note(f"{name}:{request.id}", [LIBRARY, type(error).__name__, [str(arg) for arg in error.args]])


@app.task
def count(number: int) -> list[Any]:
    """Count how often each number ran, and where."""
    with notes.pipeline() as pipe:
        pipe.hincrby("ran", str(number), 1).hincrby("where", LIBRARY, 1).execute()
    return [number, LIBRARY]


@app.task(bind=True, acks_late=True)
def late(self: Any, gate: str) -> str:
    note(
        f"began:{gate}",
        [LIBRARY, os.getpid(), self.request.delivery_info["redelivered"], self.request.id],
    )
    wait(gate)
    note(f"ended:{gate}", LIBRARY)
    return LIBRARY
