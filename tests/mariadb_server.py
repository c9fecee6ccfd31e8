"""A MariaDB database of the tests' own, in a server that is there.

``UMBEL_TEST_MARIADB`` names a server by a URL whose user may create databases; else root with an
empty password on 127.0.0.1:3306 is tried. Where there is none the tests are skipped, and with
``CI=true`` they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql
import pytest

HOME = "mysql://root@127.0.0.1:3306/"


def server_url() -> str:
    """Return the URL of the server, or skip the test."""
    url = os.environ.get("UMBEL_TEST_MARIADB", HOME)
    try:
        connect(url).close()
    except pymysql.Error as error:
        said = f"no MariaDB server answers ({error}); UMBEL_TEST_MARIADB may name one"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)
    return url


def connect(url: str) -> Any:
    """Return a connection of PyMySQL to a URL of ours."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or "root"),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/") or None,
        connect_timeout=3,
    )


@contextmanager
def database(name: str) -> Iterator[str]:
    """Make a database for the block and return its URL, without a driver's name."""
    server = server_url()
    name = f"umbel_test_{name}_{os.getpid()}"
    _run(server, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    try:
        yield f"{server.rstrip('/')}/{name}"
    finally:
        _run(server, f"DROP DATABASE IF EXISTS {name}")


def _run(server: str, *statements: str) -> None:
    connection = connect(server)
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()
