"""Celery's SQL result tables, ``db+…://``: written and read as Celery 5.7 does, by SQLAlchemy.

``drivers.opening`` calls ``open``. The tables are in ``schema``, transactions in ``connection``.
docs/design/0022 tells why SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from umbel.drivers.celery_tables.address import read
from umbel.drivers.celery_tables.result_backend import TableResultBackend
from umbel.errors import ImproperlyConfigured
from umbel.ports import Driver


class CeleryTablesDriver(Driver):
    """Two tables in one database; a result backend and nothing else."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        read_options = read(url, options)
        self._shown = read_options.shown
        self._result_backend = TableResultBackend(read_options)

    def broker(self) -> NoReturn:
        raise ImproperlyConfigured(
            f"{self._shown} keeps results, not messages: set broker_url to a broker, such as "
            "redis://localhost or postgresql://user@host/database."
        )

    def result_backend(self) -> TableResultBackend:
        return self._result_backend


def open(url: str, options: Mapping[str, Any]) -> CeleryTablesDriver:  # noqa: A001 - what drivers are asked for
    """Return the driver for ``url``; connects to nothing yet.

    Raises ImproperlyConfigured where the URL or an option is wrong.
    """
    return CeleryTablesDriver(url, options)
