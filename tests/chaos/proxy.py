"""A TCP proxy that breaks connections in the ways that networks do."""

from __future__ import annotations

import contextlib
import socket
import threading


class Proxy:
    """Stands between a client and 127.0.0.1:``port``. Listens on ``self.port``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._drop_replies = False
        self._drop_commands = False
        self._delivered = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._held: list[tuple[socket.socket, bytes]] = []
        self._hold = False
        self._closed = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, database: int = 0) -> str:
        """Return the address of one database behind the proxy."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def lose_replies(self) -> None:
        """From now on what the server says goes nowhere; commands still arrive."""
        self._delivered.clear()
        self._drop_replies = True

    def swallow(self) -> None:
        """From now on nothing arrives anywhere, and nobody is told: half-open connections."""
        self._delivered.clear()
        self._drop_replies = self._drop_commands = True

    def hold_commands(self) -> None:
        """Keep what clients send from now on, as a stalled network does."""
        self._delivered.clear()
        self._hold = True

    def heal(self) -> None:
        """Let new commands through; what is held stays held until ``sever``."""
        self._drop_replies = self._drop_commands = self._hold = False

    def wait_delivered(self) -> None:
        """Wait until a command has arrived (or is held) since the network was broken."""
        assert self._delivered.wait(20)

    def sever(self) -> None:
        """Close every connection to clients and heal the network for new ones.

        Held commands are delivered to the server afterwards.
        """
        pairs, self._pairs = self._pairs, []
        for client, server in pairs:
            _end(client)
            if all(held is not server for held, _ in self._held):
                _end(server)
        held, self._held = self._held, []
        for server, data in held:
            with contextlib.suppress(OSError):
                server.sendall(data)
        self._drop_replies = self._drop_commands = self._hold = False

    def close(self) -> None:
        """Close everything."""
        self._closed = True
        _end(self._listener)
        self.sever()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the server is away: so it is for who comes through us
                _end(client)
                continue
            self._pairs.append((client, server))
            for function, ends in ((self._forth, (client, server)), (self._back, (server, client))):
                thread = threading.Thread(target=function, args=ends, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self._drop_commands:
                    self._delivered.set()
                    continue
                if self._hold:
                    self._held.append((server, data))
                    self._delivered.set()
                    continue
                server.sendall(data)
        if all(held is not server for held, _ in self._held):
            _end(server)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self._drop_replies:
                    self._delivered.set()
                    continue
                client.sendall(data)
        _end(client)
        _end(server)


def _end(ended: socket.socket) -> None:
    with contextlib.suppress(OSError):
        ended.shutdown(socket.SHUT_RDWR)
    ended.close()
