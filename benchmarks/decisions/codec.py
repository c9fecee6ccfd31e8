"""Which JSON engine, and what the wire room costs: the figures of docs/design/0010-codec.md.

    PYTHONPATH=packages/umbel/src python benchmarks/decisions/codec.py

Prints microseconds for one call, the best of several rounds. ``orjson`` and ``ujson`` are measured
where they are installed; Umbel does not need them.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from umbel.model.message import TaskMessage
from umbel.wire import envelope, result_meta, tagged_json, task_message, task_v2
from umbel.wire.reprs import safe_repr
from umbel.wire.serializers import JSON, SERIALIZERS

ID = "6234bd56-10a8-46cb-a098-b9782db83ae9"
MESSAGE = TaskMessage(id=ID, task="shop.add", args=(2, 3), origin="gen1@host", reply_to=ID)
BODY = ((2, 3), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
NESTED = ([{"sku": "a-1", "price": 2.5, "tags": ["x", "y"]}] * 20, {})
NATIVE = ({"when": datetime(2026, 1, 1, tzinfo=UTC), "raw": b"\xff"},)
ACCEPT = SERIALIZERS.content_types(["json"])


def microseconds(call: Callable[[], object]) -> float:
    number = max(1, int(0.02 / max(timeit.timeit(call, number=10) / 10, 1e-7)))
    return min(timeit.repeat(call, number=number, repeat=9)) / number * 1e6


def row(name: str, *cells: float | str) -> None:
    shown = (f"{cell:10.2f}" if isinstance(cell, float) else f"{cell:>10}" for cell in cells)
    print(f"{name:44}" + "".join(shown))


def optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def engines() -> None:
    hooked = json.JSONEncoder(default=tagged_json.tag).encode
    row("write (µs)", "json", "json+tags", "msgspec", "orjson", "ours")
    fast = optional("orjson")
    encoded = task_v2.encode(MESSAGE, serializer=JSON)
    for name, value in (
        ("args (2, 3)", (2, 3)),
        ("task body", BODY),
        ("task headers", dict(encoded.headers)),
        ("20 nested objects", NESTED),
    ):
        row(
            name,
            microseconds(lambda value=value: json.dumps(value)),
            microseconds(lambda value=value: hooked(value)),
            microseconds(lambda value=value: tagged_json.dumps_exact(value)),
            microseconds(lambda value=value: fast.dumps(value)) if fast else "-",
            microseconds(lambda value=value: tagged_json.dumps(value)),
        )
    row("datetime and bytes", "refuses", microseconds(lambda: hooked(NATIVE)), "wrong", "wrong",
        microseconds(lambda: tagged_json.dumps(NATIVE)))  # fmt: skip
    row("read (µs)", "json", "json+tags", "msgspec", "orjson", "ours")
    for name, value in (("task body", BODY), ("20 nested objects", NESTED)):
        data = tagged_json.dumps(value)
        row(
            name,
            microseconds(lambda data=data: json.loads(data)),
            microseconds(lambda data=data: json.loads(data, object_hook=tagged_json.untag)),
            microseconds(lambda data=data: msgspec.json.decode(data)),
            microseconds(lambda data=data: fast.loads(data)) if fast else "-",
            microseconds(lambda data=data: tagged_json.loads(data)),
        )


def where_engines_differ() -> None:
    print("\nwhat msgspec and orjson write where Celery's peers expect otherwise")
    fast = optional("orjson")
    for value in (float("nan"), datetime(2026, 1, 1, tzinfo=UTC), b"\xff", 2**70, "\ud800"):
        cells = []
        for dumps in (tagged_json.dumps, msgspec.json.encode, fast and fast.dumps):
            try:
                cells.append(dumps(value).decode() if dumps else "-")
            except Exception as error:
                cells.append(type(error).__name__)
        print(f"  {value!r:52}" + " | ".join(cells))


def room() -> None:
    encoded = task_v2.encode(MESSAGE, serializer=JSON)

    def dump() -> bytes:
        return envelope.dump_kombu(encoded, exchange="", routing_key="celery", delivery_tag=ID)

    def document() -> bytes:
        return result_meta.encode(
            task_id=ID, status="SUCCESS", result=5, date_done=NOW, serializer=JSON
        )

    kombu, compact, stored = dump(), envelope.dump_compact(encoded), document()
    loaded = envelope.load(kombu)

    def decode() -> TaskMessage:
        return task_message.decode(loaded, accept=ACCEPT, serializers=SERIALIZERS)

    print(f"\nthe wire room, add(2, 3) (µs); envelopes of {len(kombu)} and {len(compact)} bytes")
    for name, call in (
        ("safe_repr((1, 2))", lambda: safe_repr((1, 2))),
        ("task_v2.encode", lambda: task_v2.encode(MESSAGE, serializer=JSON)),
        ("envelope.dump_kombu", dump),
        ("envelope.dump_compact", lambda: envelope.dump_compact(encoded)),
        ("envelope.peek, kombu", lambda: envelope.peek(kombu)),
        ("envelope.peek, compact", lambda: envelope.peek(compact)),
        ("envelope.load, kombu", lambda: envelope.load(kombu)),
        ("envelope.load, compact", lambda: envelope.load(compact)),
        ("task_message.decode", decode),
        ("result_meta.encode", document),
        ("result_meta.decode", lambda: result_meta.decode(stored, serializer=JSON)),
    ):
        row(name, microseconds(call))


NOW = datetime.now(UTC)

if __name__ == "__main__":
    print(f"Python {platform.python_version()}, msgspec {msgspec.__version__}, {sys.platform}\n")
    engines()
    where_engines_differ()
    room()
