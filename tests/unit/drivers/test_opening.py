"""URLs become drivers, and every wrong URL a sentence that helps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from umbel.drivers import opening
from umbel.drivers.memory import MemoryDriver
from umbel.drivers.opening import open_backend, open_broker, open_driver, scheme_of
from umbel.errors import ImproperlyConfigured
from umbel.ports import Broker, ResultBackend
from umbel.testing.conformance.station import new_id


def test_one_url_is_one_driver() -> None:
    url = f"memory://{new_id()}"
    assert open_driver(url) is open_driver(url, {})
    assert open_broker(url) is open_driver(url).broker()
    assert open_backend(url) is open_driver(url).result_backend()
    assert isinstance(open_broker(url), Broker)
    assert isinstance(open_backend(url), ResultBackend)


def test_another_url_or_other_options_are_another_driver(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.sqlite3"
    assert open_driver(url) is not open_driver(url, {"timeout": 1.0})
    assert open_driver(url, {"timeout": 1.0}) is open_driver(url, {"timeout": 1.0})
    assert open_driver("memory://one") is not open_driver("memory://two")


def test_opening_touches_no_file(tmp_path: Path) -> None:
    open_broker(f"sqlite:///{tmp_path}/absent/a.sqlite3")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("redis://localhost", "redis"),
        ("REDIS://localhost", "redis"),
        ("redis+socket:///run/redis.sock", "redis+socket"),
        ("memory", "memory"),
        ("django-db", "django-db"),
    ],
)
def test_the_scheme_comes_first(url: str, scheme: str) -> None:
    assert scheme_of(url) == scheme


@pytest.mark.parametrize("url", ["", "://x", "localhost:6379", "/var/lib/umbel.sqlite3"])
def test_what_has_no_scheme_is_explained(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="must look like scheme://"):
        open_driver(url)


def test_a_misspelt_scheme_gets_the_nearest() -> None:
    with pytest.raises(ImproperlyConfigured, match="did you mean redis://") as caught:
        open_driver("reddis://:secret@localhost")
    assert "secret" not in str(caught.value)
    assert "sqlite" in str(caught.value)


@pytest.mark.parametrize(
    ("url", "product"),
    [
        ("sqs://key@", "Amazon SQS"),
        ("db+postgresql://localhost/db", "SQLAlchemy"),
        ("sqs://", "SQS"),
        ("cache+memcached://127.0.0.1", "memcached"),
        ("django-db", "Django"),
    ],
)
def test_what_celery_has_and_umbel_not_yet_is_said(url: str, product: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"{product}.*no driver for"):
        open_driver(url)


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("hiredis", r"package 'hiredis'.*run: pip install 'umbel\[redis\]'"),
        ("_sqlite3", "built without SQLite"),
    ],
)
def test_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, sentence: str
) -> None:
    (tmp_path / f"needs{missing}.py").write_text(f"import {missing}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setitem(opening._MODULES, "needy", f"needs{missing}")
    with pytest.raises(ImproperlyConfigured, match=sentence):
        open_driver(f"needy://{missing}")


def test_any_other_missing_module_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_nonsense.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(opening._MODULES, "needy", "needs_nonsense")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        open_driver("needy://")


def test_third_parties_add_schemes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far_away.py").write_text(
        "from umbel.drivers.memory import MemoryDriver\n"
        "def open(url, options):\n    return MemoryDriver()\n"
    )
    facts = tmp_path / "far_away-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[umbel.drivers]\nfaraway = far_away:open\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(open_driver("faraway://here"), MemoryDriver)
    with pytest.raises(ImproperlyConfigured, match="did you mean faraway://"):
        open_driver("farawy://here")


def test_memory_takes_no_options() -> None:
    with pytest.raises(ImproperlyConfigured, match="no transport options, but was given: fast"):
        open_driver(f"memory://{new_id()}", {"fast": True})
    with pytest.raises(ImproperlyConfigured, match="question mark"):
        open_driver(f"memory://{new_id()}?fast=1")
