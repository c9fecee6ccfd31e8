"""A client of the fleet: a process that sends calls and reads results when the test says so.

A line on its input is a pickled ``(function, arguments, options)``, a line of its output the
pickled answer. The functions of this module are what can be asked; they use nothing but Celery's
API.
"""

from __future__ import annotations

import base64
import itertools
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import fleet_tasks
from celery.result import AsyncResult
from fleet_tasks import app

PATIENCE = 20.0
KEPT: dict[str, Any] = {}
"""Handles of what was sent, by id."""


def send(task: str, *args: Any, headers: Any = None, **options: Any) -> str:
    """Send a call; ``kwargs`` among the options are the task's. Return its id."""
    kwargs = options.pop("kwargs", {})
    options = {"headers": headers, **options} if headers else options
    result = getattr(fleet_tasks, task).apply_async(args, kwargs, **options)
    KEPT[result.id] = result
    return result.id


def send_unknown(name: str, queue: str) -> str:
    return app.send_task(name, (1,), queue=queue).id


def send_later(seconds: float, how: str, queue: str) -> tuple[str, float]:
    """Send a call for later in one of the ways there are; return its id and when it is due."""
    due = datetime.now(timezone.utc) + timedelta(seconds=seconds)  # noqa: UP017
    if how == "countdown":
        options: dict[str, Any] = {"countdown": seconds}
    elif how == "eta":
        options = {"eta": due}
    else:
        options = {"eta": due.astimezone(ZoneInfo("Asia/Tokyo"))}
    return send("request", queue=queue, **options), due.timestamp()


def send_many(first: int, last: int, queue: str) -> list[str]:
    return [send("count", number, queue=queue) for number in range(first, last)]


def send_linked(
    task: str,
    args: list[Any],
    queue: str,
    links: list[Any],
    errbacks: list[Any],
    **options: Any,
) -> str:
    """Send with callbacks: each ``(task, args, queue)``."""

    def signatures(told: list[Any]) -> list[Any]:
        return [getattr(fleet_tasks, name).s(*words).set(queue=on) for name, words, on in told]

    options |= {"link": signatures(links), "link_error": signatures(errbacks)}
    return send(task, *args, queue=queue, **options)


def send_chain(steps: list[Any]) -> list[str]:
    """Send a chain of ``(task, args, queue, options)``; return the ids, the last first."""
    from celery import chain, signature

    signatures = []
    for name, args, queue, *options in steps:
        step = signature(name if "." in name else f"fleet_tasks.{name}", args, app=app)
        signatures.append(step.set(queue=queue, **dict(*options)))
    result = chain(*signatures, app=app).apply_async()
    ids = []
    while result is not None:
        ids.append(result.id)
        result = result.parent
    return ids


def send_chord(queues: list[str], then: str) -> tuple[list[str], str]:
    """Send an addition to each queue, and a task that gets them all; return the ids."""
    from celery import chord

    header = [fleet_tasks.add.s(n, 1).set(queue=queue) for n, queue in enumerate(queues, 1)]
    result = chord(header)(fleet_tasks.same.s().set(queue=then))
    return [one.id for one in result.parent.results], result.id


def send_nested(queues: list[str]) -> str:
    """Send ``add | group | same | chord in a chord``, its tasks in turns to these queues."""
    from celery import chain, chord, group

    turn = itertools.cycle(queues)

    def add(*args: int) -> Any:
        call = fleet_tasks.add.s(*args).set(queue=next(turn))
        return call.set(immutable=len(args) == 2)

    def same() -> Any:
        return fleet_tasks.same.s().set(queue=next(turn))

    inner = chord([add(10, 1), add(20, 1)], same())
    whole = chain(add(1, 1), group(add(1), add(2)), same(), chord([same(), inner], same()))
    return whole.apply_async().id


def send_broken_chord(queues: list[str], errback: str, name: str) -> str:
    """Send a chord whose first member fails; return the id of its body."""
    from celery import chord

    header = [fleet_tasks.fail.s("builtin").set(queue=queues[0])]
    header += [fleet_tasks.add.s(1, 1).set(queue=queue) for queue in queues[1:]]
    body = fleet_tasks.same.s().set(queue=queues[-1])
    body.on_error(fleet_tasks.errback_by_id.s(name).set(queue=errback))
    return chord(header)(body).id


def handle(task_id: str) -> Any:
    return KEPT.get(task_id) or AsyncResult(task_id, app=app)


def told_of(error: BaseException) -> dict[str, Any]:
    """Say what an exception is, in words every process knows."""
    return {
        "class": f"{type(error).__module__}.{type(error).__qualname__}",
        "bases": [base.__name__ for base in type(error).__mro__[1:]],
        "args": [arg if isinstance(arg, str | int | bool) else repr(arg) for arg in error.args],
        "text": str(error),
        "known": isinstance(error, getattr(fleet_tasks.Outer, type(error).__name__, ())),
    }


def get(task_id: str, timeout: float = PATIENCE) -> Any:
    """Return the value of a result; what it raises is the answer of ``outcome``."""
    return handle(task_id).get(timeout=timeout)


def get_all(ids: list[str]) -> list[Any]:
    return [get(one) for one in ids]


def outcome(task_id: str, fresh: bool = False) -> dict[str, Any]:
    """Wait for the end and say everything there is to say of it."""
    result = AsyncResult(task_id, app=app) if fresh else handle(task_id)
    told: dict[str, Any] = {"value": None, "error": None}
    try:
        told["value"] = result.get(timeout=PATIENCE)
    except Exception as error:
        told["error"] = told_of(error)
    told |= meta(task_id)
    return told


def meta(task_id: str) -> dict[str, Any]:
    """Say what is stored now."""
    result = AsyncResult(task_id, app=app)
    names = ("state", "traceback", "name", "args", "kwargs", "worker", "retries", "queue")
    told = {name: getattr(result, name) for name in names}
    info = result.info
    told["info"] = told_of(info) if isinstance(info, BaseException) else info
    # Celery makes handles of them only when the run is over.
    told["children"] = [
        child[0][0] if isinstance(child, list) else child.id for child in result.children or ()
    ]
    done = result.date_done  # aware, but of a class not every Python has
    told["date_done"] = done if done is None else done.timestamp()
    told["flags"] = (result.ready(), result.successful(), result.failed())
    return told


def returned_handle(task_id: str) -> dict[str, Any]:
    """Read a task's return value that is a handle itself."""
    from celery.result import result_from_tuple

    value = get(task_id)
    child = value if isinstance(value, AsyncResult) else result_from_tuple(value, app=app)
    return {"raw": value if isinstance(value, list) else None, "value": child.get(timeout=PATIENCE)}


def wait_state(task_id: str, state: str) -> dict[str, Any]:
    """Return what is stored once the state is this one. Nobody tells of it: it asks again."""
    deadline = time.monotonic() + PATIENCE
    while (told := meta(task_id))["state"] != state:
        assert time.monotonic() < deadline, f"{told} never became {state}"
        time.sleep(0.01)
    return told


def forget(task_id: str) -> str:
    handle(task_id).forget()
    return AsyncResult(task_id, app=app).state


def revoke(task_id: str) -> None:
    handle(task_id).revoke()


def raised_by(function: str, *args: Any, **options: Any) -> dict[str, Any]:
    """Say what one of the other functions raises."""
    try:
        value = CALLS[function](*args, **options)
    except Exception as error:
        return told_of(error)
    raise AssertionError(f"nothing was raised; the answer was {value!r}")


CALLS: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        send, send_unknown, send_later, send_many, send_linked, send_chord, send_chain,
        send_nested, send_broken_chord, get,
        get_all, outcome, meta, returned_handle, wait_state, forget, revoke, raised_by,
    )
}  # fmt: skip


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for line in sys.stdin.buffer:
        name, args, options = pickle.loads(base64.b64decode(line))
        try:
            answer = (True, CALLS[name](*args, **options))
        except BaseException:
            answer = (False, traceback.format_exc())
        answers.write(base64.b64encode(pickle.dumps(answer)) + b"\n")
        answers.flush()
    KEPT.clear()  # while there is a Python to unsubscribe with


if __name__ == "__main__":
    main()
