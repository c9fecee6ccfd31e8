"""Celery's serializer ``auth``: what is signed is read, and nothing else."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import make_certificate
from umbel.errors import ContentDisallowed, DecodeError, ImproperlyConfigured
from umbel.wire import serializers
from umbel.wire.serializers import SERIALIZERS

from .conftest import new_app
from .mailbox import take_one

AUTH = {"task_serializer": "auth", "accept_content": ["auth"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    make_certificate(made, "ann")
    make_certificate(made, "bob")
    make_certificate(made, "old", days=-1)
    make_certificate(made, "eve", trusted=False)
    return made


@pytest.fixture(autouse=True)
def _tables_as_before() -> Iterator[None]:
    before = dict(SERIALIZERS._by_name), dict(SERIALIZERS._by_content_type)
    yield
    SERIALIZERS._by_name, SERIALIZERS._by_content_type = before


def settings_of(home: Path, name: str) -> dict[str, str]:
    folder = home if (home / f"{name}.pem").exists() else home / "trusted"
    return {
        "security_key": str(home / f"{name}.key"),
        "security_certificate": str(folder / f"{name}.pem"),
        "security_cert_store": str(home / "trusted" / "*.pem"),
    }


def signed_by(home: Path, name: str, value: Any = (1,)) -> bytes:
    """Return content that this one has signed."""
    with new_app(**AUTH, **settings_of(home, name)) as app:
        app.setup_security()
        return SERIALIZERS.get("auth").dumps(value)


def read(data: bytes) -> Any:
    accept = SERIALIZERS.content_types(["auth"])
    return SERIALIZERS.loads(data, "application/data", "utf-8", accept)


def test_a_message_travels_signed_and_is_read(home: Path) -> None:
    with new_app(**AUTH, **settings_of(home, "ann")) as app:
        app.setup_security()
        app.send_task("proj.add", (1, 2), {"z": 3})
        sent = take_one(app)
    assert sent.encoded.content_type == "application/data"
    assert b"application/json" in b64decode(sent.encoded.body)
    assert (list(sent.message.args), sent.message.kwargs) == ([1, 2], {"z": 3})


def test_content_of_another_trusted_one_is_read(home: Path) -> None:
    theirs = signed_by(home, "bob", {"a": 1})
    signed_by(home, "ann")
    assert read(theirs) == {"a": 1}


@pytest.mark.parametrize(
    ("name", "why"), [("eve", "is not in security_cert_store"), ("old", "has expired")]
)
def test_who_is_not_trusted_is_not_read(home: Path, name: str, why: str) -> None:
    theirs = signed_by(home, name)
    signed_by(home, "ann")
    with pytest.raises(ContentDisallowed, match=why):
        read(theirs)


def test_what_was_changed_is_not_read(home: Path) -> None:
    parts = b64decode(signed_by(home, "ann", [1])).split(b"\x00\x01")
    parts[-1] = b"[2]"
    with pytest.raises(ContentDisallowed, match="does not fit the content"):
        read(b64encode(b"\x00\x01".join(parts)))


def test_what_is_signed_by_nobody_is_not_read(home: Path) -> None:
    signed_by(home, "ann")
    with pytest.raises(DecodeError, match="not signed as Celery's auth"):
        read(b"[1]")
    accept = SERIALIZERS.content_types(["auth"])
    with pytest.raises(ContentDisallowed):
        SERIALIZERS.loads(b"[1]", "application/json", "utf-8", accept)


def test_a_signed_pickle_is_read_only_where_that_was_said(home: Path) -> None:
    with new_app(**AUTH, **settings_of(home, "ann")) as app:
        app.setup_security(serializer="pickle")
        pickled = SERIALIZERS.get("auth").dumps((1, 2))
        assert read(pickled) == (1, 2)
        app.setup_security()
        with pytest.raises(ContentDisallowed, match="x-python-serialize"):
            read(pickled)
        app.setup_security(["pickle"])
        assert read(pickled) == (1, 2)


def test_without_the_settings_it_is_refused(home: Path) -> None:
    words = "task_serializer='auth'"
    with (
        new_app(**settings_of(home, "ann")) as app,
        pytest.raises(ImproperlyConfigured, match=words),
    ):
        app.setup_security()


def test_without_files_it_is_refused() -> None:
    words = "needs security_key, security_certificate"
    with new_app(**AUTH) as app, pytest.raises(ImproperlyConfigured, match=words):
        app.setup_security()


@pytest.mark.parametrize(
    ("setting", "value", "why"),
    [
        ("security_key", "/nowhere.key", "security_key names /nowhere.key, which cannot be read"),
        ("security_certificate", "ann.key", "is no PEM certificate"),
        ("security_cert_store", "/nowhere/*.pem", "nobody would be trusted"),
        ("security_digest", "md6", "security_digest is 'md6'"),
    ],
)
def test_a_wrong_file_is_named(home: Path, setting: str, value: str, why: str) -> None:
    given = settings_of(home, "ann") | {setting: str(home / value) if "ann" in value else value}
    with new_app(**AUTH, **given) as app, pytest.raises(ImproperlyConfigured, match=why):
        app.setup_security()


def test_raw_data_stays_raw_without_it() -> None:
    accept = serializers.SERIALIZERS.content_types(["json"])
    assert SERIALIZERS.loads(b"\x00", "application/data", "binary", accept) == b"\x00"
