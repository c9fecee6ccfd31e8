"""A PostgreSQL database of the tests' own, in a server that is there; and private servers.

``UMBEL_TEST_POSTGRESQL`` names a server by the URL of a database whose user may create others; else
the one on 127.0.0.1:5432 is tried. Where there is none the tests are skipped, and with ``CI=true``
they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from torture.postgres import PrivatePostgres, binaries

HOME = "postgresql://postgres@127.0.0.1:5432/postgres"


def server_url() -> str:
    """Return the URL of the server's own database, or skip the test."""
    url = os.environ.get("UMBEL_TEST_POSTGRESQL", HOME)
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.Error as error:
        said = f"no PostgreSQL server answers ({error}); UMBEL_TEST_POSTGRESQL may name one"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return url


def url_of(server: str, database: str, **changes: str) -> str:
    """Return the server's URL with another database; ``netloc`` may be changed too."""
    parts = urlsplit(server)
    return urlunsplit((parts.scheme, changes.get("netloc", parts.netloc), f"/{database}", "", ""))


@contextmanager
def database(name: str) -> Iterator[str]:
    """Make a database for the block and return its URL."""
    server = server_url()
    name = f"umbel_test_{name}_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield url_of(server, name)
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def needs_programs() -> None:
    """Skip where no server can be started; fail where CI needs it."""
    if binaries() is None:
        said = "no PostgreSQL server to start here: no initdb in PATH or /usr/lib/postgresql"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)


def private_server(*settings: str, password: str = "") -> PrivatePostgres:
    """Return a server of the test's own, to be broken; close it. Skips where there is none."""
    needs_programs()
    return PrivatePostgres(*settings, password=password).start()
