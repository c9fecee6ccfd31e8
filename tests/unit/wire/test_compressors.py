"""Compression by Celery's names, and bombs."""

from __future__ import annotations

import gzip
import importlib.util
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import DecodeError, ImproperlyConfigured
from umbel.wire.compressors import compress, decompress

ALWAYS = ["zlib", "gzip", "bzip2", "bzip", "lzma", "xz"]


@pytest.mark.parametrize("name", ALWAYS)
@given(data=st.binary(max_size=500))
def test_what_is_compressed_is_read_by_mime_name_and_alias(name: str, data: bytes) -> None:
    packed, mime = compress(data, name)
    assert decompress(packed, mime) == data
    assert decompress(packed, name) == data


def test_the_names_are_what_celery_calls_them() -> None:
    assert compress(b"x", "gzip") == (zlib.compress(b"x"), "application/x-gzip")
    assert compress(b"x", "bzip2")[1] == "application/x-bz2"
    packed, mime = compress(b"x", "xz")
    assert (packed[:6], mime) == (b"\xfd7zXZ\x00", "application/x-lzma")


def test_a_real_gzip_file_is_read_too() -> None:
    assert decompress(gzip.compress(b"abc"), "application/x-gzip") == b"abc"


@pytest.mark.parametrize("name", ["zlib", "bzip2", "lzma"])
def test_a_bomb_is_refused(name: str) -> None:
    packed, mime = compress(bytes(1_000_000), name)
    assert len(decompress(packed, mime, limit=1_000_000)) == 1_000_000
    with pytest.raises(DecodeError, match="would unpack to more than the 999999 bytes allowed"):
        decompress(packed, mime, limit=999_999)


@pytest.mark.parametrize("name", ["zlib", "bzip2", "lzma"])
def test_broken_data_is_a_decode_error(name: str) -> None:
    packed, mime = compress(b"some data", name)
    for broken in (b"", b"nonsense", packed[:-3]):
        with pytest.raises(DecodeError, match="is not valid"):
            decompress(broken, mime)


def test_unknown_names() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no compression 'gzib'.*Did you mean 'zlib'"):
        compress(b"x", "gzib")
    with pytest.raises(DecodeError, match=r"compressed as 'rar', which is not known here"):
        decompress(b"x", "rar")


def importable(name: str) -> bool:
    modules = {"brotli": ["brotli"], "zstd": ["compression", "backports.zstd"]}[name]
    for module in modules:
        try:
            if importlib.util.find_spec(module) is not None:
                return True
        except ModuleNotFoundError:
            continue
    return False


@pytest.mark.parametrize("name", ["brotli", "zstd"])
def test_optional_formats_work_or_name_their_package(name: str) -> None:
    if not importable(name):
        with pytest.raises(ImproperlyConfigured, match="needs a package: pip install"):
            compress(b"x", name)
        with pytest.raises(DecodeError, match="needs a package: pip install"):
            decompress(b"x", name)
        return
    packed, mime = compress(b"abc" * 100, name)
    assert decompress(packed, mime) == b"abc" * 100
    with pytest.raises(DecodeError, match="more than the 299 bytes"):
        decompress(packed, mime, limit=299)
