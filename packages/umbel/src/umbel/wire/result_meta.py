"""The document a result store keeps for one task: status, result and what led there.

Called by the worker (writing) and by result handles (reading). The document carries no content
type: its reader uses the serializer the reader is configured with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeAlias

from umbel.errors import BackendGetMetaError, ContentDisallowed, EncodeError, TaskError
from umbel.model.outcome import EXCEPTION_STATES, READY_STATES
from umbel.ports import Serializer
from umbel.wire import pickling, tagged_json
from umbel.wire.compressors import DEFAULT_LIMIT, compress, decompress
from umbel.wire.portable_errors import describe, to_portable
from umbel.wire.result_row import ResultRow, dump_row, load_row
from umbel.wire.serializers import JsonSerializer, PickleSerializer

Reader: TypeAlias = Callable[[bytes | None], Any]
"""From a column to the value in it."""

_COMPRESSED = b"\x00celery-compressed\x00"


def encode(
    *,
    task_id: str,
    status: str,
    result: Any,
    traceback: str | None = None,
    children: Sequence[Any] | None = (),
    date_done: datetime | None,
    group_id: str | None = None,
    parent_id: str | None = None,
    extended: Mapping[str, Any] | None = None,
    serializer: Serializer,
    timezone: tzinfo = UTC,
    compression: str | None = None,
    as_row: bool = False,
) -> bytes:
    """Return the document; ``as_row``: for a store that keeps its fields in columns.

    ``result`` is the value, or the exception for the states that have one. ``date_done`` (aware)
    is written in ``timezone``, and only for states that are final. ``extended``: name, args and so
    on, and stamps, where the app stores them. Raises EncodeError when the serializer cannot write
    the result, ImproperlyConfigured for an unknown compression.
    """
    if isinstance(result, BaseException) and status in EXCEPTION_STATES:
        result = stored_exception(result, serializer)
    done = None
    if date_done is not None and status in READY_STATES:
        # Converting costs 0.3 µs, and both sides are mostly UTC.
        moment = date_done if date_done.tzinfo is timezone else date_done.astimezone(timezone)
        done = moment.isoformat()
    fields: dict[str, Any] = {
        "status": status,
        "result": result,
        "traceback": traceback,
        "children": children if children is None else list(children),
        "date_done": done,
    }
    if group_id is not None:
        fields["group_id"] = group_id
    if parent_id is not None:
        fields["parent_id"] = parent_id
    if extended:
        fields.update(extended)
    fields["task_id"] = task_id
    if as_row:
        # Celery keeps neither group nor parent there, and compresses nothing.
        return dump_row(_row(fields, extended or {}, serializer))
    document = _dump(fields, serializer, plain=not children and not extended)
    return compressed(document, compression)


def compressed(document: bytes, compression: str | None) -> bytes:
    """Return the document as it is, or compressed with Celery's marker before it."""
    if not compression:
        return document
    packed, mime = compress(document, compression)
    return b"%b%b\x00%b" % (_COMPRESSED, mime.encode("ascii"), packed)


def decompressed(document: bytes, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the document without its compression, told by the marker."""
    if not document.startswith(_COMPRESSED):
        return document
    mime, _, packed = document[len(_COMPRESSED) :].partition(b"\x00")
    return decompress(packed, mime.decode("ascii", "replace"), limit=limit)


def _dump(fields: dict[str, Any], serializer: Serializer, *, plain: bool) -> bytes:
    # A plain document with a flat result is what msgspec writes exactly: 0.2 µs against 1.1.
    if plain and type(serializer) is JsonSerializer and tagged_json.is_exact(fields["result"]):
        try:
            return tagged_json.dumps_exact(fields)
        except UnicodeEncodeError:
            pass  # a lone surrogate
    try:
        if isinstance(fields["result"], BaseException) and isinstance(serializer, PickleSerializer):
            return pickling.dumps_for_celery(fields)
        return serializer.dumps(fields)
    except EncodeError as error:
        raise EncodeError(
            f"the result of task {fields['task_id']} cannot be stored with the serializer "
            f"{serializer.name!r}: {error}"
        ) from error


def _row(
    fields: Mapping[str, Any], extended: Mapping[str, Any], serializer: Serializer
) -> ResultRow:
    result, done = fields["result"], fields["date_done"]

    def column(value: Any) -> bytes:
        try:
            if isinstance(value, BaseException) and isinstance(serializer, PickleSerializer):
                return pickling.dumps_for_celery(value)
            return serializer.dumps(value)
        except EncodeError as error:
            raise EncodeError(
                f"the result of task {fields['task_id']} cannot be stored with the serializer "
                f"{serializer.name!r}: {error}"
            ) from error

    headers = extended.get("stamped_headers")
    stamps = None
    if headers:
        values = {name: extended[name] for name in headers if name in extended}
        stamps = column({"stamped_headers": list(headers), "stamps": values})
    return ResultRow(
        status=fields["status"],
        result=column(result),
        traceback=fields["traceback"],
        children=column(fields["children"]) if fields["children"] else None,
        date_done=None
        if done is None
        else datetime.fromisoformat(done).replace(tzinfo=None).isoformat(),
        name=extended.get("name"),
        args=column(extended["args"]) if "args" in extended else None,
        kwargs=column(extended["kwargs"]) if "kwargs" in extended else None,
        worker=extended.get("worker"),
        retries=extended.get("retries"),
        queue=extended.get("queue"),
        stamps=stamps,
    )


def _fields_of(row: ResultRow, task_id: str, read: Reader, timezone: tzinfo) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "status": row.status,
        "result": read(row.result),
        "traceback": row.traceback,
        "children": read(row.children) or [],
        "date_done": None,
    }
    if row.date_done is not None:
        done = datetime.fromisoformat(row.date_done)
        fields["date_done"] = done.replace(tzinfo=timezone).isoformat()
    for name in ("name", "worker", "retries", "queue"):
        if getattr(row, name) is not None:
            fields[name] = getattr(row, name)
    for name in ("args", "kwargs"):
        if getattr(row, name) is not None:
            fields[name] = read(getattr(row, name))
    stamps = read(row.stamps)
    if isinstance(stamps, Mapping):
        fields["stamped_headers"] = list(stamps.get("stamped_headers") or ())
        fields.update(stamps.get("stamps") or {})
    fields["task_id"] = task_id
    return fields


def read_column(
    data: bytes | None, *, serializer: Serializer, accept: frozenset[str], what: str
) -> Any:
    """Return the value in a column of Celery's tables; ``what`` names it in errors.

    Releases of Celery before 5.7 pickled every value there, whatever the serializer. Such a pickle
    is opened only where ``accept``, a list of content types, names it. Raises ContentDisallowed,
    DecodeError.
    """
    if data is None:
        return None
    if isinstance(serializer, PickleSerializer) or not pickling.looks_pickled(data):
        return serializer.loads(data)
    if PickleSerializer.content_type not in accept:
        raise ContentDisallowed(
            f"{what} is a pickle, which Celery wrote before 5.7 and which may run code where it is "
            "opened. If you trust whoever can write to that table, add 'pickle' to "
            "result_accept_content"
        )
    return pickling.loads(data)


def stored_exception(exc: BaseException, serializer: Serializer) -> Any:
    """Return an exception in the form in which the serializer can write it."""
    if not isinstance(serializer, PickleSerializer):
        return to_portable(exc, serializer)
    try:
        # Many exceptions can be pickled and then not be made again; better to learn it here.
        pickling.loads(pickling.dumps(exc))
    except Exception:  # noqa: BLE001 - a user's class may raise anything in there
        return TaskError(describe(exc))
    return exc


def decode_row(
    document: bytes,
    *,
    task_id: str,
    serializer: Serializer,
    accept: frozenset[str],
    timezone: tzinfo,
) -> dict[str, Any]:
    """Return what ``decode`` returns, of a document that begins with ``ROW_MARK``.

    It does not tell its ``task_id``, nor the zone of its times; ``accept`` is what ``read_column``
    has it for, which says what is raised.
    """

    def read(data: bytes | None) -> Any:
        what = f"what the table holds for task {task_id}"
        return read_column(data, serializer=serializer, accept=accept, what=what)

    return _fields_of(load_row(document), task_id, read, timezone)


def decode(
    document: bytes, *, serializer: Serializer, limit: int = DEFAULT_LIMIT
) -> dict[str, Any]:
    """Return the fields of a stored document; the result of a failure as it was stored.

    Compressed documents are told by their marker, whatever is configured here. Raises DecodeError
    when the serializer cannot read it, BackendGetMetaError when it is not a result document.
    """
    if document.startswith(_COMPRESSED):
        document = decompressed(document, limit)
    fields = serializer.loads(document)
    if not isinstance(fields, dict):
        raise BackendGetMetaError(
            f"what is stored is a {type(fields).__name__}, not a result document"
        )
    if not isinstance(fields.get("status"), str):
        raise BackendGetMetaError(
            f"the stored document has the status {fields.get('status')!r}, which is not a state"
        )
    return fields
