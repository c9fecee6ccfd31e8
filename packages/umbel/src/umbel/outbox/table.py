"""The table of the outbox: its name, its columns in each database, and a message as a row of it.

Opens nothing. ``writing`` and ``database`` use it, and ``umbel outbox sql`` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from umbel.drivers.elsewhere import outgoing_of
from umbel.errors import DecodeError, EncodeError, ImproperlyConfigured
from umbel.model.queues import FollowUp, Outgoing
from umbel.wire.envelope import dump_compact

DATABASES = ("postgresql", "mysql", "sqlite")
"""Those that have the table. ``mysql`` is MariaDB too."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")

_CREATE: Mapping[str, str] = {
    "postgresql": """\
CREATE TABLE IF NOT EXISTS {table} (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id text NOT NULL,
    task text NOT NULL,
    queue text NOT NULL,
    message bytea NOT NULL,
    created_at double precision NOT NULL,
    held_until double precision NOT NULL DEFAULT 0,
    held_by text,
    fault text
)""",
    "mysql": """\
CREATE TABLE IF NOT EXISTS {table} (
    seq bigint AUTO_INCREMENT PRIMARY KEY,
    task_id varchar(255) NOT NULL,
    task varchar(255) NOT NULL,
    queue varchar(255) NOT NULL,
    message longblob NOT NULL,
    created_at double NOT NULL,
    held_until double NOT NULL DEFAULT 0,
    held_by varchar(32),
    fault text
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    "sqlite": """\
CREATE TABLE IF NOT EXISTS {table} (
    seq integer PRIMARY KEY AUTOINCREMENT,
    task_id text NOT NULL,
    task text NOT NULL,
    queue text NOT NULL,
    message blob NOT NULL,
    created_at real NOT NULL,
    held_until real NOT NULL DEFAULT 0,
    held_by text,
    fault text
)""",
}

INSERT = (
    "INSERT INTO {table} (task_id, task, queue, message, created_at) "
    "VALUES (%(task_id)s, %(task)s, %(queue)s, %(message)s, %(created_at)s)"
)
"""The same in every database."""

_read = msgspec.msgpack.Decoder(FollowUp).decode


def checked(name: str) -> str:
    """Return the name of the table if it can be one. Raises ImproperlyConfigured."""
    if _NAME.fullmatch(name) is None:
        raise ImproperlyConfigured(
            f"outbox_table is {name!r}: it takes the name of a table, letters, digits and _, with "
            "a schema and a dot before it where you want one"
        )
    return name


def creation(database: str, table: str) -> str:
    """Return the statement that makes the table, without a semicolon."""
    return _CREATE[database].format(table=checked(table))


def packed(outgoing: Outgoing) -> bytes:
    """Return a message, its queue and its time as the bytes of a row. Raises EncodeError."""
    row = FollowUp(dump_compact(outgoing.message), outgoing.queue, outgoing.due_at)
    try:
        return msgspec.msgpack.encode(row)
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(
            f"the queue {outgoing.queue.name!r} has an argument that cannot be kept in the outbox: "
            f"{error}"
        ) from error


def unpacked(message: bytes) -> Outgoing:
    """Return what ``packed`` was given. Raises WireError where the bytes are something else."""
    try:
        return outgoing_of(_read(message))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DecodeError(f"the row holds no message of Umbel's: {error}") from error
