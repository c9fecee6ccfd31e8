"""What was asked of Celery for each recorded message: the truth the readers are held to.

The names and values are those of ``tools/goldens_app.py``. Fields that are not named here must have
their defaults, apart from the ids and names that Celery makes up.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

ID = "11111111-1111-4111-8111-111111111111"
ETA = datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
EXPIRES = datetime(2032, 5, 6, 7, 8, 9, tzinfo=UTC)
UNICODE = "héllo wörld \U0001f600 \u2028 'quoted' \"double\" back\\slash\n"


def sig(task: str, *args: Any, immutable: bool = False, **options: Any) -> dict[str, Any]:
    return {
        "task": task,
        "args": list(args),
        "kwargs": {},
        "options": options,
        "subtask_type": None,
        "immutable": immutable,
    }


def call(task: str, *args: Any, **fields: Any) -> dict[str, Any]:
    return {"task": f"goldens.{task}", "args": list(args), "kwargs": {}, **fields}


ADD = call("add", 2, 3)
PLAIN = call("echo", 1, 2.5, "x", None, True, kwargs={"k": [1]})
TAGGED: dict[str, Any] = {
    "datetime_aware": datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC),
    "datetime_naive": datetime(2020, 1, 2, 3, 4, 5, 678),  # noqa: DTZ001 - its form is the point
    "date": date(2020, 1, 2),
    "time": time(1, 2, 3),
    "decimal": Decimal("1.50"),
    "uuid": UUID(int=5),
    "bytes": b"abc",
    "base64": b"\xff\xfe",
    "infinity": float("-inf"),
    "big_int": 2**100,
    "nested": {"list": [1, [2.5, None, True]], "when": [date(2020, 1, 2)]},
}

ONE_EACH: dict[str, dict[str, Any]] = {
    "v2_plain": ADD,
    "v2_list_args": {**ADD, "argsrepr": "[2, 3]"},
    "v2_no_args": call("echo"),
    "v2_kwargs": call("add", kwargs={"x": 2, "y": "three"}),
    "v2_all_options": {
        **ADD,
        "eta": ETA,
        "expires": EXPIRES,
        "priority": 5,
        "time_limit": 30,
        "soft_time_limit": 20,
        "shadow": "shady",
        "headers": {"x-custom": "v", "x-when": ETA},
        "ignore_result": True,
        "argsrepr": "(hidden)",
        "kwargsrepr": "{hidden}",
    },
    "v2_unicode": call("echo", kwargs={"value": {UNICODE: UNICODE}}),
    "v2_stamped": {
        **ADD,
        "stamped_headers": ["owner", "tags"],
        "stamps": {"owner": "ada", "tags": ["a", "b"]},
    },
    **{f"v2_tagged_{name}": call("echo", value) for name, value in TAGGED.items()},
    **{f"v2_serializer_{name}": PLAIN for name in ("json", "pickle", "yaml", "msgpack")},
    **{f"v2_compression_{name}": call("echo", "x" * 200) for name in ("zlib", "bzip2", "lzma")},
    "v2_compression_gzip": call("echo", "x" * 200),
    "v2_link": {**ADD, "callbacks": [sig("goldens.add", 10)]},
    "v2_link_several": {
        **ADD,
        "callbacks": [sig("goldens.add", 10), sig("goldens.add", 1, 1, immutable=True)],
        "errbacks": [sig("goldens.echo")],
    },
    "v2_link_pickle": {**ADD, "callbacks": [{**sig("goldens.add"), "args": (10,)}]},
    "v1_plain": call("add", 1, 2),
    "v1_kwargs_eta": call("add", 1, kwargs={"y": 2}, eta=ETA, expires=EXPIRES),
    "v1_link": {
        **call("add", 1, 2),
        "callbacks": [sig("goldens.add", 3)],
        "errbacks": [sig("goldens.echo")],
    },
    "hybrid": call("add", 4, kwargs={"y": 5}, retries=1),
}
"""Recordings of one message, with the fields of the call."""
