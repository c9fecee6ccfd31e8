"""The registry, the accept list, and each serializer's errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.errors import ContentDisallowed, DecodeError, EncodeError, ImproperlyConfigured
from umbel.ports import Serializer
from umbel.wire import serializers as module
from umbel.wire.serializers import SERIALIZERS, JsonSerializer, Serializers

JSON_ONLY = SERIALIZERS.content_types(["json"])

COMMON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cn"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["json", "pickle", "yaml", "msgpack"])
@given(value=COMMON)
def test_every_serializer_reads_what_it_writes(name: str, value: Any) -> None:
    serializer = SERIALIZERS.get(name)
    accept = frozenset({serializer.content_type})
    data = serializer.dumps(value)
    assert serializer.loads(data) == value
    read = SERIALIZERS.loads(data, serializer.content_type, serializer.content_encoding, accept)
    assert read == value


@pytest.mark.parametrize("name", ["json", "yaml", "msgpack"])
def test_tuples_become_lists(name: str) -> None:
    serializer = SERIALIZERS.get(name)
    assert serializer.loads(serializer.dumps((1, (2, {"k": (3,)})))) == [1, [2, {"k": [3]}]]


@pytest.mark.parametrize("name", ["json", "pickle", "yaml", "msgpack"])
def test_what_cannot_be_written_is_an_encode_error(name: str) -> None:
    with pytest.raises(EncodeError, match="cannot be"):
        SERIALIZERS.get(name).dumps({"f": lambda: None})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("json", b"{"),
        ("pickle", b"not a pickle"),
        ("pickle", b""),
        ("yaml", b"{: ]"),
        ("yaml", b"!!python/object/apply:os.system ['true']"),
        ("msgpack", b"\x93\x01"),
        ("msgpack", b"\x01\x02"),
        ("msgpack", b"\xa1\xff"),
        ("json", b"[" * 100_000),
        ("yaml", b"[" * 100_000),
        ("msgpack", b"\x91" * 100_000),
    ],
)
def test_what_cannot_be_read_is_a_decode_error(name: str, data: bytes) -> None:
    with pytest.raises(DecodeError, match="not"):
        SERIALIZERS.get(name).loads(data)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        SERIALIZERS.get("jsn")
    assert str(caught.value) == (
        "there is no serializer 'jsn'; known are json, msgpack, pickle, yaml. Did you mean 'json'?"
    )


def test_the_accept_list_takes_names_and_mime_types() -> None:
    accept = SERIALIZERS.content_types(["json", "application/x-yaml", "application/data"])
    assert accept == {"application/json", "application/x-yaml", "application/data"}
    assert SERIALIZERS.content_types("json") == {"application/json"}
    with pytest.raises(ImproperlyConfigured, match="no serializer 'application/xml'"):
        SERIALIZERS.content_types(["application/xml"])


def test_content_that_is_not_accepted_is_never_opened() -> None:
    exploding = b"cos\nsystem\n(S'exit 1'\ntR."
    with pytest.raises(ContentDisallowed) as caught:
        SERIALIZERS.loads(exploding, "application/x-python-serialize", "binary", JSON_ONLY)
    assert str(caught.value) == (
        "content of type 'application/x-python-serialize' is refused: accepted is "
        "application/json. If you trust every sender, add 'pickle' to accept_content (or "
        "result_accept_content)"
    )


def test_missing_content_type_is_refused_with_a_reason() -> None:
    with pytest.raises(ContentDisallowed, match="has no content type, and only application/json"):
        SERIALIZERS.loads(b"[]", "", "utf-8", JSON_ONLY)


def test_raw_content_passes_every_accept_list() -> None:
    nothing: frozenset[str] = frozenset()
    assert SERIALIZERS.loads(b"\xff", "application/data", "binary", nothing) == b"\xff"
    assert SERIALIZERS.loads(b"\xc3\xa9", "application/text", "utf-8", nothing) == "é"


def test_plain_text_must_be_accepted() -> None:
    with pytest.raises(ContentDisallowed):
        SERIALIZERS.loads(b"x", "text/plain", "utf-8", JSON_ONLY)
    accept = SERIALIZERS.content_types(["text/plain"])
    assert SERIALIZERS.loads(b"\xc3\xa9", "text/plain", "", accept) == "é"


def test_other_text_encodings_are_honoured() -> None:
    data = '["é"]'.encode("latin-1")
    assert SERIALIZERS.loads(data, "application/json", "latin-1", JSON_ONLY) == ["é"]
    with pytest.raises(DecodeError, match="not text in 'klingon'"):
        SERIALIZERS.loads(data, "application/json", "klingon", JSON_ONLY)


def test_an_accepted_type_nobody_reads_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="nothing here reads it"):
        SERIALIZERS.loads(b"x", "image/png", "binary", frozenset({"image/png"}))


def test_a_serializer_can_be_added() -> None:
    class Upper(Serializer):
        name = "upper"
        content_type = "application/x-upper"
        content_encoding = "utf-8"

        def dumps(self, value: Any) -> bytes:
            return str(value).upper().encode()

        def loads(self, data: bytes) -> Any:
            return data.decode().lower()

    table = Serializers([JsonSerializer()])
    table.register(Upper())
    accept = table.content_types(["upper"])
    assert table.loads(b"HELLO", "application/x-upper", "utf-8", accept) == "hello"
    assert table.names() == ["json", "upper"]


@pytest.mark.parametrize(("name", "package"), [("yaml", "PyYAML"), ("msgpack", "msgpack")])
def test_a_missing_package_is_named(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(_name: str) -> Any:
        raise ImportError

    monkeypatch.setattr(module.importlib, "import_module", absent)
    with pytest.raises(ImproperlyConfigured, match=f"needs .*{package}.*pip install 'umbel"):
        SERIALIZERS.get(name).dumps(1)
