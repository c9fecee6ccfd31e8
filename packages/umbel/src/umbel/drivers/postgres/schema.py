"""Which tables there are, and the numbered steps that make them what this release needs.

Called by ``connection`` for every new session (``check``) and by ``umbel migrate`` (``Migrator``).

A ``pre`` step keeps the programs of the release before it working: apply it before the new code is
started. A ``post`` step may not: apply it when the last old program has ended. So a program refuses
tables that lack a ``pre`` step it knows, and tables with a ``post`` step it does not know.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg import errors as pg

from umbel.drivers.postgres import failures
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.statements import Migration, migrations
from umbel.errors import ImproperlyConfigured

OLDEST = 130000
"""PostgreSQL 13."""

Session = psycopg.Connection[tuple[Any, ...]]


class Applied(msgspec.Struct, frozen=True):
    """One step that the database has seen."""

    number: int
    phase: str
    name: str
    at: datetime


class State(msgspec.Struct, frozen=True):
    """What a database has seen, beside what this release knows."""

    applied: tuple[Applied, ...]
    known: tuple[Migration, ...]

    @property
    def pending(self) -> tuple[Migration, ...]:
        """What this release knows and the database has not seen."""
        seen = {each.number for each in self.applied}
        return tuple(each for each in self.known if each.number not in seen)

    @property
    def foreign(self) -> tuple[Applied, ...]:
        """What the database has seen and this release does not know: a newer one was here."""
        newest = len(self.known)
        return tuple(each for each in self.applied if each.number > newest)

    def fault(self, address: Address) -> str | None:
        """Return why a program of this release must not use the tables, or None."""
        if any(each.phase == "post" for each in self.foreign):
            return failures.newer(address, self.applied[-1].number, len(self.known))
        needed = [each.number for each in self.pending if each.phase == "pre"]
        if needed:
            last = self.applied[-1].number if self.applied else 0
            return failures.older(address, last, needed[-1])
        return None


def check(session: Session, address: Address) -> None:
    """Make sure that the tables are there and of a release that fits.

    Where there are none they are made, unless the URL says ``create=no``: a database that was never
    used asks for no extra step. Tables that are there are changed by ``umbel migrate`` only.
    """
    if session.info.server_version < OLDEST:
        raise ImproperlyConfigured(
            f"{address.url} is PostgreSQL {session.info.parameter_status('server_version')}; "
            "Umbel needs 13 or newer"
        )
    state = read(session, address)
    if state is None:
        if not address.create:
            raise ImproperlyConfigured(failures.tables_missing(address))
        apply(session, address, ("pre", "post"), known=migrations())
        return
    fault = state.fault(address)
    if fault is not None:
        raise ImproperlyConfigured(fault)


def read(
    session: Session, address: Address, known: Sequence[Migration] | None = None
) -> State | None:
    """Return what the database has seen; None where it has never seen Umbel in this schema."""
    try:
        rows = session.execute(
            f"SELECT number, phase, name, at FROM {address.schema}.migration "  # noqa: S608 - checked
            "ORDER BY number".encode()
        ).fetchall()
    except (pg.UndefinedTable, pg.InvalidSchemaName):
        return None
    steps = migrations() if known is None else known
    return State(tuple(Applied(*row) for row in rows), tuple(steps))


def apply(
    session: Session,
    address: Address,
    phases: Sequence[str],
    *,
    known: Sequence[Migration] | None = None,
) -> Sequence[Migration]:
    """Apply the steps of these phases that are pending; return them. All of them or none.

    Raises ImproperlyConfigured where a newer release has been here. One process at a time: others
    wait for the lock and find everything made.
    """
    name = address.schema
    with session.transaction():
        session.execute(b"SELECT pg_advisory_xact_lock(%s)", (_lock(name),))
        existing = session.execute(
            b"SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,)
        ).fetchone()
        if existing is None:
            session.execute(f"CREATE SCHEMA {name}".encode())
        session.execute(
            f"CREATE TABLE IF NOT EXISTS {name}.migration (number integer PRIMARY KEY, phase text "
            "NOT NULL, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())".encode()
        )
        state = read(session, address, known)
        assert state is not None
        if state.foreign:
            raise ImproperlyConfigured(
                failures.newer(address, state.foreign[-1].number, len(state.known))
            )
        chosen = [each for each in state.pending if each.phase in phases]
        for step in chosen:
            session.execute(step.text.replace("{schema}", name).encode())
            session.execute(
                f"INSERT INTO {name}.migration (number, phase, name) VALUES (%s, %s, %s)".encode(),  # noqa: S608 - checked
                (step.number, step.phase, step.name),
            )
    return chosen


def _lock(name: str) -> int:
    digest = hashlib.blake2b(f"umbel migrations of {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
