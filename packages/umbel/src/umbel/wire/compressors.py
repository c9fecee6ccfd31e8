"""Compression of bodies and results, under the names Celery's peers use.

The names are historical: ``application/x-gzip`` is a bare zlib stream, ``application/x-lzma`` an xz
container. Readers take the MIME name or an alias. Decompression is bounded, so that a small message
cannot become a memory full of zeros.
"""

from __future__ import annotations

import difflib
import importlib
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from umbel.errors import DecodeError, ImproperlyConfigured

DEFAULT_LIMIT = 512 * 1024 * 1024
"""The largest content unpacked unless the caller says otherwise: the largest value Redis holds."""


class Compressor(msgspec.Struct, frozen=True):
    """One format. ``decompress`` gets the data and how many bytes it may return at most."""

    mime: str
    aliases: tuple[str, ...]
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]
    package: str | None = None


class _TooLarge(Exception):
    pass


def _bounded(decompressor: Any, data: bytes, limit: int) -> bytes:
    """Run an incremental decompressor of the standard library's shape, up to ``limit`` bytes."""
    out: bytes = decompressor.decompress(data, limit + 1)
    if len(out) > limit:
        raise _TooLarge
    if not decompressor.eof:
        raise EOFError("the data ends too early")
    return out


def _unpack_zlib(data: bytes, limit: int) -> bytes:
    # 32: a gzip file, which the name promises, is read as well as a zlib stream.
    return _bounded(zlib.decompressobj(zlib.MAX_WBITS | 32), data, limit)


# From here on modules are imported on first use: some Pythons are built without them, and together
# they take 2 ms.


def _pack_bz2(data: bytes) -> bytes:
    packed: bytes = importlib.import_module("bz2").compress(data)
    return packed


def _unpack_bz2(data: bytes, limit: int) -> bytes:
    return _bounded(importlib.import_module("bz2").BZ2Decompressor(), data, limit)


def _pack_xz(data: bytes) -> bytes:
    packed: bytes = importlib.import_module("lzma").compress(data)
    return packed


def _unpack_xz(data: bytes, limit: int) -> bytes:
    return _bounded(importlib.import_module("lzma").LZMADecompressor(), data, limit)


def _brotli() -> Any:
    return importlib.import_module("brotli")


def _pack_brotli(data: bytes) -> bytes:
    packed: bytes = _brotli().compress(data)
    return packed


def _unpack_brotli(data: bytes, limit: int) -> bytes:
    decompressor = _brotli().Decompressor()
    out: bytes = decompressor.process(data)
    if len(out) > limit:
        raise _TooLarge
    if not decompressor.is_finished():
        raise EOFError("the data ends too early")
    return out


def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return importlib.import_module("backports.zstd")


def _pack_zstd(data: bytes) -> bytes:
    packed: bytes = _zstd().compress(data)
    return packed


def _unpack_zstd(data: bytes, limit: int) -> bytes:
    return _bounded(_zstd().ZstdDecompressor(), data, limit)


_COMPRESSORS = (
    Compressor("application/x-gzip", ("zlib", "gzip"), zlib.compress, _unpack_zlib),
    Compressor("application/x-bz2", ("bzip2", "bzip"), _pack_bz2, _unpack_bz2),
    Compressor("application/x-lzma", ("lzma", "xz"), _pack_xz, _unpack_xz),
    Compressor("application/x-brotli", ("brotli",), _pack_brotli, _unpack_brotli, "brotli"),
    Compressor(
        "application/zstd", ("zstd", "zstandard"), _pack_zstd, _unpack_zstd, "backports.zstd"
    ),
)
_BY_NAME = {
    name: compressor
    for compressor in _COMPRESSORS
    for name in (compressor.mime, *compressor.aliases)
}


def compress(data: bytes, name: str) -> tuple[bytes, str]:
    """Return the compressed data and the MIME name to announce it by.

    Raises ImproperlyConfigured for an unknown name or a missing package.
    """
    compressor = _BY_NAME.get(name)
    if compressor is None:
        close = difflib.get_close_matches(name, _BY_NAME, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ImproperlyConfigured(
            f"there is no compression {name!r}; known are {', '.join(_names())}.{hint}"
        )
    try:
        return compressor.compress(data), compressor.mime
    except ImportError as error:
        raise ImproperlyConfigured(
            f"the compression {name!r} needs a package: {_remedy(compressor)}"
        ) from error


def decompress(data: bytes, name: str, *, limit: int = DEFAULT_LIMIT) -> bytes:
    """Return the data a MIME name or alias says was compressed.

    Raises DecodeError when the name is unknown, the data is broken, or more than ``limit`` bytes
    would come out.
    """
    compressor = _BY_NAME.get(name)
    if compressor is None:
        raise DecodeError(
            f"the content is compressed as {name!r}, which is not known here; known are "
            f"{', '.join(_names())}"
        )
    try:
        return compressor.decompress(data, limit)
    except ImportError as error:
        raise DecodeError(
            f"the content is compressed as {name!r}, and reading that needs a package: "
            f"{_remedy(compressor)}"
        ) from error
    except _TooLarge:
        raise DecodeError(
            f"the content, {len(data)} bytes compressed as {name!r}, would unpack to more than "
            f"the {limit} bytes allowed"
        ) from None
    except Exception as error:  # each library has its own
        raise DecodeError(f"the content is not valid {name!r} data: {error}") from error


def _remedy(compressor: Compressor) -> str:
    if compressor.package is None:
        return "this Python was built without it; install the system's library and rebuild"
    return f"pip install {compressor.package}"


def _names() -> list[str]:
    return sorted(compressor.aliases[0] for compressor in _COMPRESSORS)
