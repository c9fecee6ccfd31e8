"""The steps of one schema, shown and applied for ``umbel migrate``. Called through ``umbel.ports``.

Uses a session of its own, which is not checked: the tables may be of another release.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC

import psycopg
from psycopg import errors as pg

from umbel.drivers.postgres import failures, schema
from umbel.drivers.postgres.address import Address
from umbel.drivers.postgres.statements import Migration, migrations
from umbel.errors import BrokerUnavailable, ImproperlyConfigured
from umbel.model.migrations import MigrationStep
from umbel.ports import Migrator


class PostgresMigrator(Migrator):
    """``known``: what this release knows, unless a test has other steps."""

    def __init__(self, address: Address, known: Sequence[Migration] | None = None) -> None:
        self._address = address
        self._known = migrations() if known is None else known

    @property
    def place(self) -> str:
        return f"{self._address.url}, schema {self._address.schema}"

    def steps(self) -> Sequence[MigrationStep]:
        state = self._state()
        applied = {each.number: each for each in state.applied}
        numbers = {each.number: each for each in state.known}
        found: list[MigrationStep] = []
        for number in sorted({*applied, *numbers}):
            seen = applied.get(number)
            step = seen or numbers[number]
            at = None if seen is None else seen.at.astimezone(UTC)
            found.append(MigrationStep(number=number, phase=step.phase, name=step.name, at=at))
        return found

    def fault(self) -> str | None:
        return self._state().fault(self._address)

    def apply(self, phases: Sequence[str]) -> Sequence[MigrationStep]:
        with self._session() as session:
            done = schema.apply(session, self._address, phases, known=self._known)
        numbers = {each.number for each in done}
        return [each for each in self.steps() if each.number in numbers]

    def _state(self) -> schema.State:
        with self._session() as session:
            state = schema.read(session, self._address, self._known)
        return state or schema.State((), tuple(self._known))

    @contextmanager
    def _session(self) -> Iterator[schema.Session]:
        address = self._address
        try:
            session: schema.Session = psycopg.connect(address.conninfo, autocommit=True)
        except psycopg.Error as error:
            raise BrokerUnavailable(failures.not_connected(address, "store", error)) from error
        try:
            yield session
        except pg.InsufficientPrivilege as error:
            raise ImproperlyConfigured(failures.not_allowed(address, error)) from error
        except psycopg.Error as error:
            raise BrokerUnavailable(
                f"{address.url} refused ({failures.words(error)}); nothing was changed"
            ) from error
        finally:
            session.close()
