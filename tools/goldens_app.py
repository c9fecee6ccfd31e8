"""The Celery app, the calls and the tasks that ``record_goldens`` records.

Real Celery runs this; Umbel never imports it. ``tests/wire/calls.py`` names the same values.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from uuid import UUID

import celery
import redis
from celery import Celery, chain, chord, group
from celery.exceptions import Reject, TaskRevokedError
from celery.result import AsyncResult

URL = os.environ.get("GOLDENS_REDIS", "redis://127.0.0.1:6379/15")
ID = "11111111-1111-4111-8111-111111111111"
ETA = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
EXPIRES = datetime(2032, 5, 6, 7, 8, 9, tzinfo=UTC)

app = Celery("goldens", broker=URL, backend=URL)
app.conf.update(
    accept_content=["json", "pickle", "yaml", "msgpack"],
    result_accept_content=["json", "pickle", "yaml", "msgpack"],
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    task_publish_retry=False,
    **json.loads(os.environ.get("GOLDENS_CONF", "{}")),
)


class Outer:
    class Inner(Exception):
        """An exception class nested in another class."""


class Picky(Exception):
    """An exception that cannot be made from its args."""

    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@app.task(name="goldens.add", typing=False)
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="goldens.echo", typing=False)
def echo(value: object = None) -> object:
    return value


@app.task(name="goldens.total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="goldens.native")
def native() -> object:
    return {"when": ETA, "price": Decimal("1.50"), "raw": b"\xff\xfe", "floats": [float("nan")]}


@app.task(name="goldens.fail")
def fail(kind: str) -> None:
    raise {
        "value": ValueError("c", 42),
        "nested": Outer.Inner("deep"),
        "unserialisable": RuntimeError(object(), "fine"),
        "picky": Picky(7, reason="no"),
        "key": KeyError("missing"),
        "reject": Reject("because", requeue=False),
    }[kind]


@app.task(name="goldens.retry", bind=True, max_retries=3)
def retry(self: celery.Task) -> None:
    raise self.retry(exc=KeyError("again"), countdown=600, queue="parked")


@app.task(name="goldens.plain_retry", bind=True, max_retries=3)
def plain_retry(self: celery.Task) -> None:
    raise self.retry(countdown=600, queue="parked")


@app.task(name="goldens.too_many", bind=True, max_retries=0)
def too_many(self: celery.Task) -> None:
    raise self.retry(countdown=1)


@app.task(name="goldens.tracked", bind=True, track_started=True)
def tracked(self: celery.Task) -> str:
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 10})
    return "there"


@app.task(name="goldens.gives_result")
def gives_result() -> AsyncResult:
    return AsyncResult("22222222-2222-4222-8222-222222222222")


@app.task(name="goldens.sleeps", time_limit=1)
def sleeps() -> None:
    time.sleep(30)


@app.task(name="goldens.sleeps_softly", soft_time_limit=1)
def sleeps_softly() -> None:
    time.sleep(30)


@app.task(name="goldens.dies", acks_late=True, reject_on_worker_lost=False)
def dies() -> None:
    os.kill(os.getpid(), 9)


# --- messages -------------------------------------------------------------------------------------


def send(task: celery.Task, args: object = (), kwargs: object = None, **options: object) -> None:
    task.apply_async(args, kwargs, task_id=ID, **options)


def _all_options() -> None:
    send(
        add,
        (2, 3),
        eta=ETA,
        expires=EXPIRES,
        priority=5,
        time_limit=30,
        soft_time_limit=20,
        shadow="shady",
        headers={"x-custom": "v", "x-when": ETA},
        ignore_result=True,
        argsrepr="(hidden)",
        kwargsrepr="{hidden}",
    )


def _stamped() -> None:
    sig = add.s(2, 3)
    sig.stamp(owner="ada", tags=["a", "b"])
    sig.apply_async(task_id=ID)


TAGGED: dict[str, object] = {
    "datetime_aware": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datetime_naive": datetime(2020, 1, 2, 3, 4, 5, 678),  # noqa: DTZ001 - its form is the point
    "date": date(2020, 1, 2),
    "time": clock_time(1, 2, 3),
    "decimal": Decimal("1.50"),
    "uuid": UUID(int=5),
    "bytes": b"abc",
    "base64": b"\xff\xfe",
    "nan": float("nan"),
    "infinity": float("-inf"),
    "big_int": 2**100,
    "nested": {"list": [1, [2.5, None, True]], "when": [date(2020, 1, 2)]},
}
UNICODE = "héllo wörld \U0001f600 \u2028 'quoted' \"double\" back\\slash\n"
PLAIN = ((1, 2.5, "x", None, True), {"k": [1]})


def messages() -> Iterator[tuple[str, Callable[[], object]]]:
    yield "v2_plain", lambda: send(add, (2, 3))
    yield "v2_list_args", lambda: send(add, [2, 3])
    yield "v2_no_args", lambda: send(echo)
    yield "v2_kwargs", lambda: send(add, (), {"x": 2, "y": "three"})
    yield "v2_all_options", _all_options
    yield "v2_unicode", lambda: send(echo, (), {"value": {UNICODE: UNICODE}})
    yield "v2_stamped", _stamped
    for name, value in TAGGED.items():
        yield f"v2_tagged_{name}", lambda value=value: send(echo, (value,))
    for serializer in ("json", "pickle", "yaml", "msgpack"):
        yield (
            f"v2_serializer_{serializer}",
            lambda serializer=serializer: send(echo, *PLAIN, serializer=serializer),
        )
    for name in ("zlib", "gzip", "bzip2", "lzma"):
        yield (
            f"v2_compression_{name}",
            lambda name=name: send(echo, ("x" * 200,), compression=name),
        )
    yield "v2_link", lambda: send(add, (2, 3), link=add.s(10))
    yield (
        "v2_link_several",
        lambda: send(add, (2, 3), link=[add.s(10), add.si(1, 1)], link_error=echo.s()),
    )
    yield "v2_link_pickle", lambda: send(add, (2, 3), link=add.s(10), serializer="pickle")
    yield "v2_chain", lambda: chain(add.s(1, 2), add.s(3), add.s(4)).apply_async()
    yield (
        "v2_chain_pickle",
        lambda: chain(add.s(1, 2), add.s(3), group(add.s(4), add.s(5))).apply_async(
            serializer="pickle"
        ),
    )
    yield "v2_group", lambda: group(add.s(1, 1), add.s(2, 2)).apply_async()
    yield "v2_chord", lambda: chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()
    yield "v2_starmap", lambda: add.starmap([(1, 2), (3, 4)]).apply_async(task_id=ID)


def old_messages() -> Iterator[tuple[str, Callable[[], object]]]:
    """To be sent with the setting task_protocol=1."""
    yield "v1_plain", lambda: send(add, (1, 2))
    yield "v1_kwargs_eta", lambda: send(add, (1,), {"y": 2}, eta=ETA, expires=EXPIRES)
    yield "v1_link", lambda: send(add, (1, 2), link=add.s(3), link_error=echo.s())
    yield "v1_group", lambda: group(add.s(1, 1), add.s(2, 2)).apply_async()
    yield "v1_chord", lambda: chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()


def berlin_messages() -> Iterator[tuple[str, Callable[[], object]]]:
    """To be sent with the setting timezone=Europe/Berlin."""
    yield "v2_berlin", lambda: send(add, (2, 3), countdown=60)


def hybrid() -> str:
    """Return a message of the hybrid form: Celery reads it but never writes it."""
    body = {"task": "ignored", "id": "ignored", "args": [4], "kwargs": {"y": 5}, "retries": 1}
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "goldens.add", "id": ID},
            "properties": {
                "correlation_id": ID,
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "body_encoding": "base64",
                "delivery_tag": "33333333-3333-4333-8333-333333333333",
                "delivery_mode": 2,
                "priority": 0,
            },
        }
    )


REPRS = (
    "(2, 2)", "(1,)", "()", "[1, 2]", "{}", "{'y': 2}", "('a', 'it\\'s', 'say \"x\"')",
    "('new\\nline', 'back\\\\slash', 'tab\\t')", "('h\\xe9', '\\U0001f600')", "(b'text', b'\\xff')",
    "(1.5, None, True, 2**70)", "((((((1,),),),),),)", "([[[[[1]]]]],)",
    "({'a': {'b': {'c': {'d': 1}}}},)", "({1, }, frozenset({2}))", "(set(), [], {}, ())",
    "('x' * 3000,)", "(list(range(1000)),)", "tuple(range(1000))", "['a' * 500, 'b' * 700, 1]",
    "(date(2020, 1, 2), Decimal('1.50'), UUID(int=5))", "({'k': ['v', ('t',)]}, {1: 2})",
    "(float('nan'), float('inf'))", "([1, [2, [3, [4]]]],)", "('',)", "(b'it\\'s',)", "[[], [[]]]",
)  # fmt: skip


# --- results --------------------------------------------------------------------------------------


def worker_results() -> Iterator[tuple[str, Callable[[], object]]]:
    yield "success", lambda: send(add, (2, 3))
    yield "success_native", lambda: send(native)
    yield "success_unicode", lambda: send(echo, (UNICODE,))
    yield "success_none", lambda: send(echo)
    yield "hybrid", lambda: redis.Redis.from_url(URL).lpush("celery", hybrid())
    for kind in ("value", "nested", "unserialisable", "picky", "key", "reject"):
        yield f"failure_{kind}", lambda kind=kind: send(fail, (kind,))
    yield "failure_arguments", lambda: send(add, (1, 2, 3))
    yield "failure_unregistered", lambda: app.send_task("goldens.nowhere", (1,), task_id=ID)
    yield "failure_max_retries", lambda: send(too_many)
    yield "failure_hard_limit", lambda: send(sleeps)
    yield "failure_soft_limit", lambda: send(sleeps_softly)
    yield "failure_lost", lambda: send(dies)
    yield "retry", lambda: send(retry, headers={"x-custom": "v"}, priority=3)
    yield "retry_plain", lambda: send(plain_retry)
    yield "stamped", _stamped
    yield "tracked", lambda: send(tracked)
    yield "gives_result", lambda: send(gives_result)
    yield "chain", lambda: chain(add.s(1, 2), add.s(3)).apply_async()
    yield "group", lambda: group(add.s(1, 1), add.s(2, 2)).apply_async()
    yield "chord_failed", lambda: chord([add.s(1, 1), fail.s("value")], total.s()).apply_async()
    # Last, because a worker remembers whom it revoked.
    yield "revoked_expired", lambda: send(add, (2, 3), expires=datetime.now(UTC) - timedelta(1))


EXTENDED = frozenset({"success", "failure_value", "retry", "stamped", "group", "revoked_expired"})
"""The recordings that are made once more with result_extended."""

DIRECT = {
    "pickle": {"result_serializer": "pickle"},
    "yaml": {"result_serializer": "yaml"},
    "msgpack": {"result_serializer": "msgpack"},
    "compressed_zlib": {"result_compression": "zlib"},
    "compressed_bzip2": {"result_compression": "bzip2"},
    "berlin": {"timezone": "Europe/Berlin"},
}
"""Settings of the backend, by the name of the recordings made under them."""


def direct_results() -> Iterator[tuple[str, Callable[[], object]]]:
    """What the backend writes without a worker, whatever the settings."""

    def store(state: str, result: object, **more: object) -> None:
        app.backend.store_result(ID, result, state, **more)

    yield "success", lambda: store("SUCCESS", {"a": [1, 2.5, None, "é"], "b": "x" * 300})
    yield "failure", lambda: store("FAILURE", ValueError("c", 42), traceback="Tb\n")
    yield "failure_picky", lambda: store("FAILURE", Picky(7, reason="no"))
    yield "failure_odd", lambda: store("FAILURE", ValueError(len, lambda: 1))
    yield "revoked", lambda: store("REVOKED", TaskRevokedError("revoked"))
