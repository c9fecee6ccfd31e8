"""What sqlite:// URLs say, and what wrong ones are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from umbel.drivers.sqlite.location import parse_location
from umbel.errors import ImproperlyConfigured


def test_three_slashes_are_relative_to_the_directory_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    location = parse_location("sqlite:///umbel.sqlite3", {})
    monkeypatch.chdir("/")
    assert location.path == tmp_path / "umbel.sqlite3"
    assert (location.synchronous, location.timeout) == ("full", 5.0)


def test_four_slashes_are_absolute() -> None:
    assert parse_location("sqlite:////var/lib/a%20b.db", {}).path == Path("/var/lib/a b.db")


def test_options_come_from_the_url_and_from_the_transport_options() -> None:
    location = parse_location("sqlite:///a.db?synchronous=NORMAL&timeout=2.5", {})
    assert (location.synchronous, location.timeout) == ("normal", 2.5)
    location = parse_location("sqlite:///a.db?synchronous=normal", {"synchronous": "off"})
    assert location.synchronous == "off"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite://", "must name a file"),
        ("sqlite:///", "must name a file"),
        ("sqlite:///:memory:", "there is memory://"),
        ("sqlite://umbel.sqlite3", "Write sqlite:///umbel.sqlite3"),
        ("sqlite:///a.db?synchronus=full", "no option 'synchronus'.*did you mean 'synchronous'"),
        ("sqlite:///a.db?colour=red", "no option 'colour'; there are synchronous and timeout"),
        ("sqlite:///a.db?synchronous=extra", "one of full, normal, off, not 'extra'"),
        ("sqlite:///a.db?timeout=soon", "number of seconds from 0 to 86400, not 'soon'"),
        ("sqlite:///a.db?timeout=-1", "not '-1'"),
        ("sqlite:///a.db?timeout=nan", "not 'nan'"),
    ],
)
def test_wrong_urls_are_explained(url: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        parse_location(url, {})
