"""The document of a result as the columns of one row, each encoded by itself.

For the tables that Celery keeps results in: their columns hold what the result serializer wrote.
Made where the values are at home, opened where they are wanted; the store between them moves bytes
and never opens one, so no supervisor ever runs what a pickle asks for. ``result_meta`` calls it.
"""

from __future__ import annotations

import msgspec

from umbel.errors import DecodeError

ROW_MARK = b"\x00umbel-row\x00"
"""How a document begins that is a row."""


class ResultRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of ``celery_taskmeta``, without its ids. Bytes are the result serializer's."""

    status: str
    result: bytes | None = None
    traceback: str | None = None
    children: bytes | None = None
    date_done: str | None = None
    """ISO-8601 without a zone: the wall clock of the app's zone."""
    name: str | None = None
    args: bytes | None = None
    kwargs: bytes | None = None
    worker: str | None = None
    retries: int | None = None
    queue: str | None = None
    stamps: bytes | None = None


_write = msgspec.msgpack.Encoder().encode
_read = msgspec.msgpack.Decoder(ResultRow).decode


def dump_row(row: ResultRow) -> bytes:
    """Return the document that is this row."""
    return ROW_MARK + _write(row)


def load_row(document: bytes) -> ResultRow:
    """Return the row that is this document. Raises DecodeError."""
    if not document.startswith(ROW_MARK):
        raise DecodeError(
            "a result is no row of a table: whoever made it did not know that results rest in SQL "
            "tables (result_backend db+...)"
        )
    try:
        return _read(document[len(ROW_MARK) :])
    except msgspec.MsgspecError as error:
        raise DecodeError(f"a row of a result cannot be read: {error}") from error
