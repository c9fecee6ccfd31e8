"""TCP lines between the clients of a server and the server, which can be broken like networks.

One thread with an event loop carries every line; the methods of ``Line`` may be called from any
thread. Each worker and the client have a line of their own, so that one can be cut off alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

CHUNK = 65536


class Network:
    """All lines to 127.0.0.1:``port``."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._lines: list[Line] = []

    def line(self) -> Line:
        """Open a new line, listening on a port of its own."""
        line = Line(self._target, self._loop)
        self._await(line.open())
        self._lines.append(line)
        return line

    def _await(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        """Close every line and end the thread."""
        for line in self._lines:
            self._await(line.close())
        self._await(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        """Wait until what carried the bytes of the lines has ended."""
        left = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
        if left:
            await asyncio.wait(left, timeout=5)


class Line:
    """One way to the server."""

    def __init__(self, target: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._target = target
        self._loop = loop
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self.delay = 0.0
        self.deaf: frozenset[str] = frozenset()
        """Directions in which bytes vanish: ``forth`` (to the server), ``back``."""

    def cut(self) -> None:
        """Reset every connection; new ones are let through."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def slow(self, seconds: float) -> None:
        """Deliver everything this much later from now on; 0 is as before."""
        self.delay = seconds

    def drop(self, *directions: str) -> None:
        """Let what is sent vanish in silence; without directions: heal the line.

        A connection that lost bytes stays dead when the line is healed, and nobody is told.
        """
        self.deaf = frozenset(directions)

    def heal(self) -> None:
        """Be a good line again, for new connections."""
        self.delay = 0.0
        self.deaf = frozenset()

    async def open(self) -> None:
        """Listen. Called in the loop."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset everything. Called in the loop."""
        if self._server is not None:
            self._server.close()
        self._reset_all()

    def _reset_all(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(self, writer, far_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                pair.carry("forth", reader, far_writer), pair.carry("back", far_reader, writer)
            )
        finally:
            pair.reset()
            self._pairs.discard(pair)


class _Pair:
    """One connection through a line. Loop only."""

    def __init__(self, line: Line, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._line = line
        self._near = near
        self._far = far
        self._dead: set[str] = set()

    def reset(self) -> None:
        self._near.transport.abort()
        self._far.transport.abort()

    async def carry(
        self, direction: str, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self._line.delay:
                    await asyncio.sleep(self._line.delay)
                if direction in self._line.deaf:
                    self._dead.add(direction)
                if direction in self._dead:
                    continue
                sink.write(data)
                await sink.drain()
        if not self._dead:
            sink.transport.abort()
