"""How values become bytes, by name or content type, behind an accept list.

Called by the task and result codecs. What a message's bytes may be decoded with is decided by the
receiver's accept list alone: content that is not in it is never opened.
"""

from __future__ import annotations

import codecs
import difflib
import importlib
from collections.abc import Iterable
from typing import Any

from umbel.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from umbel.ports import Serializer
from umbel.wire import pickling, tagged_json

RAW_CONTENT_TYPES = frozenset({"application/data", "application/text"})
"""Nothing to decode, so nothing to refuse: these pass every accept list, as with Celery."""


class JsonSerializer(Serializer):
    """JSON with tagged native types. The default."""

    name = "json"
    content_type = "application/json"
    content_encoding = "utf-8"

    def dumps(self, value: Any) -> bytes:
        return tagged_json.dumps(value)

    def loads(self, data: bytes) -> Any:
        return tagged_json.loads(data)


class PickleSerializer(Serializer):
    """Python's pickle, protocol 4. Whoever can send you one can run code in your worker.

    Accept it only where every client is trusted. Celery's own classes inside a pickle (signatures,
    errors) are read without Celery being installed: see ``wire.pickling``.
    """

    name = "pickle"
    content_type = "application/x-python-serialize"
    content_encoding = "binary"

    def dumps(self, value: Any) -> bytes:
        return pickling.dumps(value)

    def loads(self, data: bytes) -> Any:
        return pickling.loads(data)


class YamlSerializer(Serializer):
    """YAML, safe subset. Needs PyYAML."""

    name = "yaml"
    content_type = "application/x-yaml"
    content_encoding = "utf-8"

    def dumps(self, value: Any) -> bytes:
        yaml = self._module()
        try:
            text: str = yaml.safe_dump(_lists(value), allow_unicode=False)
        except (yaml.YAMLError, RecursionError) as error:
            raise EncodeError(f"the value cannot be written as YAML: {error}") from error
        return text.encode("utf-8")

    def loads(self, data: bytes) -> Any:
        yaml = self._module()
        try:
            # Not the C loader, ten times as fast though it is: 100 kB of "[" end the process in it.
            return yaml.safe_load(data)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise DecodeError(f"not valid YAML: {error}") from error

    def _module(self) -> Any:
        try:
            # Here, because it is optional and takes 30 ms.
            return importlib.import_module("yaml")
        except ImportError as error:
            raise ImproperlyConfigured(
                "the serializer 'yaml' needs PyYAML: pip install 'umbel[yaml]'"
            ) from error


def _lists(value: Any) -> Any:
    """Turn tuples into lists: the safe subset of YAML has no tuples."""
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(item) for item in value]
    return value


class MsgpackSerializer(Serializer):
    """MessagePack. Needs the msgpack package. Native types beyond bytes are refused."""

    name = "msgpack"
    content_type = "application/x-msgpack"
    content_encoding = "binary"

    def dumps(self, value: Any) -> bytes:
        msgpack = self._module()
        try:
            packed: bytes = msgpack.packb(value, use_bin_type=True)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EncodeError(f"the value cannot be written as MessagePack: {error}") from error
        return packed

    def loads(self, data: bytes) -> Any:
        msgpack = self._module()
        try:
            return msgpack.unpackb(data, raw=False, strict_map_key=False)
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise DecodeError(f"not valid MessagePack: {error!r}") from error

    def _module(self) -> Any:
        try:
            return importlib.import_module("msgpack")
        except ImportError as error:
            raise ImproperlyConfigured(
                "the serializer 'msgpack' needs the package msgpack: pip install 'umbel[msgpack]'"
            ) from error


class Serializers:
    """The serializers known by name and by content type.

    Thread-safe: registration swaps the tables, lookups take no lock.
    """

    def __init__(self, serializers: Iterable[Serializer] = ()) -> None:
        self._by_name: dict[str, Serializer] = {}
        self._by_content_type: dict[str, Serializer] = {}
        for serializer in serializers:
            self.register(serializer)

    def register(self, serializer: Serializer) -> None:
        """Add a serializer; one of the same name or content type is replaced."""
        self._by_name = {**self._by_name, serializer.name: serializer}
        self._by_content_type = {**self._by_content_type, serializer.content_type: serializer}

    def names(self) -> list[str]:
        """Return the known names, sorted."""
        return sorted(self._by_name)

    def get(self, name: str) -> Serializer:
        """Return the serializer called ``name``, or of that content type.

        Raises ImproperlyConfigured with the nearest known name.
        """
        found = self._by_name.get(name) or self._by_content_type.get(name)
        if found is None:
            raise ImproperlyConfigured(self._unknown(name))
        return found

    def content_types(self, names: Iterable[str]) -> frozenset[str]:
        """Return the accept list for these names or MIME types.

        Raises ImproperlyConfigured for one that nothing here can read.
        """
        if isinstance(names, str):
            names = (names,)
        accepted = set()
        for name in names:
            if name in RAW_CONTENT_TYPES or name == "text/plain":
                accepted.add(name)
            else:
                accepted.add(self.get(name).content_type)
        return frozenset(accepted)

    def loads(
        self, data: bytes, content_type: str, content_encoding: str, accept: frozenset[str]
    ) -> Any:
        """Return the value in ``data``.

        Raises ContentDisallowed when the accept list does not name the content type, DecodeError
        when the bytes are not what the content type says. Raw data and raw text always pass.
        """
        if content_type in RAW_CONTENT_TYPES:
            return _raw(data, content_encoding)
        if content_type not in accept:
            raise ContentDisallowed(self._refusal(content_type, accept))
        serializer = self._by_content_type.get(content_type)
        if serializer is not None:
            if content_encoding not in _SAME_BYTES and serializer.content_encoding == "utf-8":
                data = _text(data, content_encoding).encode("utf-8", "surrogatepass")
            return serializer.loads(data)
        if content_type == "text/plain":
            return _text(data, content_encoding or "utf-8")
        raise DecodeError(
            f"the content type {content_type!r} is in the accept list, but nothing here reads it"
        )

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._by_name, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"there is no serializer {name!r}; known are {', '.join(self.names())}.{hint}"

    def _refusal(self, content_type: str, accept: frozenset[str]) -> str:
        allowed = ", ".join(sorted(accept)) or "nothing"
        if not content_type:
            return f"the content has no content type, and only {allowed} is accepted"
        serializer = self._by_content_type.get(content_type)
        name = serializer.name if serializer else content_type
        return (
            f"content of type {content_type!r} is refused: accepted is {allowed}. If you trust "
            f"every sender, add {name!r} to accept_content (or result_accept_content)"
        )


_SAME_BYTES = frozenset({"utf-8", "utf8", "UTF-8", "binary", "ascii", "us-ascii", ""})


def _raw(data: bytes, content_encoding: str) -> Any:
    if content_encoding in ("binary", ""):
        return data
    return _text(data, content_encoding)


def _text(data: bytes, content_encoding: str) -> str:
    try:
        return codecs.decode(data, content_encoding)
    except (LookupError, UnicodeDecodeError) as error:
        raise DecodeError(f"the content is not text in {content_encoding!r}: {error}") from error


JSON = JsonSerializer()
SERIALIZERS = Serializers([JSON, PickleSerializer(), YamlSerializer(), MsgpackSerializer()])
"""What Umbel reads and writes unless an app brings its own table."""
