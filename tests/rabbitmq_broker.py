"""A virtual host of a test's own on a RabbitMQ broker that runs already.

The broker is at ``UMBEL_TEST_RABBITMQ`` (``host:port``, usually 127.0.0.1:5672) with the user
``guest``; virtual hosts are made and deleted with ``rabbitmqctl``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from typing import NoReturn

import pytest

PLACE = os.environ.get("UMBEL_TEST_RABBITMQ", "127.0.0.1:5672")
PATIENCE = 60.0


def missing(what: str) -> NoReturn:
    """Skip, or fail where everything must be there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and CI=true says it must be there")
    pytest.skip(what)


def rabbitmqctl(*words: str) -> str:
    """Run one command of the broker's tool and return what it says. Fails where it fails."""
    done = subprocess.run(
        ["rabbitmqctl", "--quiet", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"rabbitmqctl {words}: {done.stdout}{done.stderr}"
    return done.stdout


class VirtualHost:
    """A virtual host with a random name, gone when closed.

    Skips the test where there is no broker or no ``rabbitmqctl``; fails there with ``CI=true``.
    """

    def __init__(self) -> None:
        host, _, port = PLACE.partition(":")
        if shutil.which("rabbitmqctl") is None:
            missing("rabbitmqctl is not in PATH")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            missing(f"no RabbitMQ at {PLACE}")
        self.name = f"umbel-test-{secrets.token_hex(4)}"
        rabbitmqctl("add_vhost", self.name)
        rabbitmqctl("set_permissions", "-p", self.name, "guest", ".*", ".*", ".*")

    def url(self, credentials: str = "guest:guest") -> str:
        """Return the address of the virtual host."""
        return f"amqp://{credentials}@{PLACE}/{self.name}"

    def close_connections(self) -> None:
        """Have the broker close every connection to the virtual host."""
        rabbitmqctl("close_all_connections", "--vhost", self.name, "a test")

    def queues(self, *columns: str) -> list[list[str]]:
        """Return these columns of every queue."""
        said = rabbitmqctl("list_queues", "-p", self.name, "--no-table-headers", *columns)
        return [line.split("\t") for line in said.splitlines() if line]

    def close(self) -> None:
        """Delete the virtual host and all that is in it."""
        rabbitmqctl("delete_vhost", self.name)
