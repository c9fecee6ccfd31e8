"""Batches of words on a local socket: what supervisor, template and executors say to each other.

A frame is four bytes of length and one msgpack array of words. A batch of words is one frame, so
that many small words cost one system call. No sockets are opened here and nothing is retried: a
peer that is gone shows as an empty read.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

_LENGTH = struct.Struct(">I")
_READ_SIZE = 262_144
_WRITE_SIZE = 1_048_576

# Not os.write and select.poll as they may be by now: gevent and eventlet put their own there.
_native = sys.modules.get("posix") or sys.modules["nt"]
_poll = select.poll

_encoder = msgspec.msgpack.Encoder()


def pack(words: Sequence[Any]) -> bytes:
    """Return one frame that carries these words."""
    body = _encoder.encode(words)
    return _LENGTH.pack(len(body)) + body


def pack_word(word: Any) -> bytes:
    """Return one word as it stands inside a frame."""
    return _encoder.encode(word)


class FrameReader(Generic[T]):
    """Cuts a stream of bytes into words of one type. Belongs to one thread."""

    def __init__(self, word_type: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(list[word_type])
        self._buffer = bytearray()
        self._needed = 4
        """Bytes the buffer must hold before it is worth a look."""

    def feed(self, data: bytes) -> list[T]:
        """Return the words that are complete with this piece."""
        if not self._buffer:
            # The usual case by far: whole frames arrive, nothing has to be kept or copied.
            words, used = self._cut(data)
            if used < len(data):
                self._keep(data[used:])
            return words
        self._buffer += data
        if len(self._buffer) < self._needed:
            # Of a frame of many megabytes every piece is copied once, not all at each piece.
            return []
        whole, self._buffer = bytes(self._buffer), bytearray()
        words, used = self._cut(whole)
        if used < len(whole):
            self._keep(whole[used:])
        return words

    def _keep(self, rest: bytes) -> None:
        self._buffer += rest
        self._needed = 4 if len(rest) < 4 else 4 + _LENGTH.unpack_from(rest)[0]

    def _cut(self, data: bytes) -> tuple[list[T], int]:
        words: list[T] = []
        start, end = 0, len(data)
        view = memoryview(data)
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(data, start)
            if end - start - 4 < length:
                break
            words.extend(self._decoder.decode(view[start + 4 : start + 4 + length]))
            start += 4 + length
        return words, start


class FrameWriter:
    """Sends frames on a non-blocking socket and keeps what the socket does not take yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._waiting = bytearray()

    @property
    def blocked(self) -> bool:
        """True while something waits for the socket to become writable."""
        return bool(self._waiting)

    def send(self, words: Sequence[Any]) -> None:
        """Send or keep one frame. Raises OSError when the peer is gone."""
        data = pack(words)
        if self._waiting:
            self._waiting += data
            return
        sent = self._try(data)
        if sent < len(data):
            self._waiting += data[sent:]

    def flush(self) -> None:
        """Send what was kept, as far as the socket takes it. Raises OSError."""
        if self._waiting:
            # A piece at a time: what waits may be many times what the socket takes.
            sent = self._try(bytes(self._waiting[:_WRITE_SIZE]))
            del self._waiting[:sent]

    def forget(self) -> None:
        """Drop what waits: the peer is gone."""
        self._waiting.clear()

    def _try(self, data: bytes) -> int:
        try:
            return self._sock.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, waiting where the socket is full. Raises OSError when the peer is gone.

    By the plain system calls, whatever gevent or eventlet made of them: a greenlet that is
    interrupted in the middle would leave half a frame behind, so there must be no switch in here.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[_native.write(descriptor, rest) :]
        except BlockingIOError:
            poll = _poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def read_some(sock: socket.socket) -> bytes | None:
    """Return what is there, empty bytes when the peer is gone, None when there is nothing now."""
    try:
        return sock.recv(_READ_SIZE)
    except BlockingIOError:
        return None
    except OSError:
        return b""
