"""One Redis server and one PostgreSQL database for all conformance tests; random names keep them
apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import postgres_server
from tests.rabbitmq_broker import VirtualHost
from tests.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    server = RedisServer().start()
    yield server.url(3)
    server.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server.database("conformance") as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[VirtualHost]:
    """One virtual host for all of these tests."""
    host = VirtualHost()
    yield host
    host.close()
