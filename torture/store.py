"""What every store under torture is: started, killed and frozen by us alone, looked into by us.

What lies in a store is read with the store's own tools, never through the product: a message is
where its id is found. ``stores`` names those there are.
"""

from __future__ import annotations

import re
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torture.network import Line

START_SECONDS = 30.0
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Store(ABC):
    """One private store. Methods may be called from the main thread only."""

    server = False
    """Whether there is a server process and a network between it and its clients."""
    patience_option = ""
    """The option of a server's URL that says how many seconds an answer may take."""
    leases = True
    """Whether a claim outlives its connection, and what comes of a run is one step: what is told,
    sent and acknowledged. Without, whatever breaks a connection may have its tasks run again."""
    settings: Mapping[str, Any] = {}
    """Settings of the app that this store needs."""

    @abstractmethod
    def line(self) -> Line | None:
        """Return a new network line to it, or None where there is no network."""

    @abstractmethod
    def url(self, line: Line | None = None) -> str:
        """Return its address, through this line."""

    def results_url(self, line: Line | None = None) -> str:
        """Return the address of what keeps the results."""
        return self.url(line)

    @abstractmethod
    def places(self) -> Iterator[tuple[str, bytes]]:
        """Yield what lies in it, with where it lies; results and counts of chords left out."""

    def traces(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """Return where each of these task ids lies in it, results left out."""
        wanted = set(ids)
        found: dict[str, list[str]] = {}
        if wanted:
            for place, content in self.places():
                for task_id in wanted & {each.decode() for each in _UUID.findall(content)}:
                    found.setdefault(task_id, []).append(place)
        return found

    @abstractmethod
    def size(self) -> int:
        """Return the bytes it takes: on disk for a file, in memory for a server."""

    @abstractmethod
    def close(self) -> None:
        """End it and remove what it left."""

    def kill(self) -> None:
        """End the server as a crash does. Servers only."""
        raise NotImplementedError

    def end(self) -> None:
        """End the server politely. Servers only."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the server (again), and return when it answers. Servers only."""
        raise NotImplementedError

    def freeze(self, frozen: bool) -> None:
        """Stop the server's process, or let it go on. Servers only."""
        raise NotImplementedError

    def cut_all(self) -> None:
        """Have the server close every connection but ours. Servers only."""
        raise NotImplementedError

    def fill(self, full: bool) -> None:
        """Fill the disk to the last byte, or free it. Where ``fillable``."""
        raise NotImplementedError

    @property
    def fillable(self) -> bool:
        return False


def free_port() -> int:
    """Return a TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
