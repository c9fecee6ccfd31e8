"""A small HTTP server on threads of its own, from the standard library.

It knows nothing of workers: a function answers each path. At most ``MOST`` connections are served
at once and each ends after one answer, or after ``PATIENCE``, so that a slow caller costs a thread
for that long and nothing more.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from typing import Any

import msgspec

from umbel.errors import ImproperlyConfigured
from umbel.worker.health.address import HttpAddress

logger = logging.getLogger("umbel.worker")

MOST = 16
"""Connections served at once."""
PATIENCE = 5.0
"""Seconds a caller may take over its request."""
POLL = 0.25
"""Seconds the end of the server may take to be noticed."""


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


Answering = Callable[[str, str], Answer]
"""From the path, and what the caller accepts, to the answer. Called by any thread."""


class HealthServer:
    """Bound when made, serves from ``start`` to ``stop``."""

    def __init__(self, address: HttpAddress, answering: Answering) -> None:
        """Raises ImproperlyConfigured when the address cannot be had."""
        try:
            self._server = _open(address, answering)
        except OSError as error:
            raise ImproperlyConfigured(
                f"worker_http (--http): cannot listen on {address}: {error.strerror or error}."
                " Each worker of a machine needs an address of its own"
            ) from error
        self._path = address.path
        self.address = address
        """Where it listens, with the port that it got."""
        if address.path is None:
            self.address = HttpAddress(address.host, self._server.server_address[1])
        self._thread = threading.Thread(target=self._serve, name="umbel-http", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more, and free the address."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        if self._path is not None:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass  # somebody tidied up

    def _serve(self) -> None:
        self._server.serve_forever(POLL)


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, family: int, where: Any, answering: Answering) -> None:
        self.address_family = family
        self.allow_reuse_address = family != socket.AF_UNIX
        self.answering = answering
        self.room = threading.BoundedSemaphore(MOST)
        super().__init__(where, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.room.acquire(blocking=False):
            logger.debug("More than %d callers at once on worker_http: one is turned away", MOST)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its base's
        logger.debug("A request on worker_http failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server_version = "umbel"
    sys_version = ""

    def __init__(self, request: Any, client_address: Any, server: BaseServer) -> None:
        assert isinstance(server, _Server)
        self._answering = server.answering
        super().__init__(request, client_address, server)

    def do_GET(self) -> None:
        answer = self._answering(self.path.partition("?")[0], self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its base's name
        logger.debug("worker_http: %s", format % args)

    def address_string(self) -> str:
        return str(self.client_address)


def _open(address: HttpAddress, answering: Answering) -> _Server:
    if address.path is not None:
        _make_way(address.path)
        return _Server(socket.AF_UNIX, address.path, answering)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    family, _, _, _, where = found[0]
    return _Server(family, where, answering)


def _make_way(path: str) -> None:
    """Remove the socket of a worker that is dead; never anything else."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
