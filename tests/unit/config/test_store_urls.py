"""Reading URLs of stores, and printing them without passwords."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.config.urls import StoreUrl, censored, split_urls
from umbel.errors import ImproperlyConfigured


def test_all_parts() -> None:
    url = StoreUrl.parse("rediss://me:p%40ss@example.org:6380/3?ssl_cert_reqs=required")
    assert (url.scheme, url.user, url.password) == ("rediss", "me", "p@ss")
    assert (url.host, url.port, url.db) == ("example.org", 6380, 3)
    assert url.query == {"ssl_cert_reqs": "required"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///umbel.sqlite3", "umbel.sqlite3"),
        ("sqlite:////var/umbel.sqlite3", "/var/umbel.sqlite3"),
        ("redis+socket:///run/redis.sock?virtual_host=1", "/run/redis.sock"),
        ("unix://:secret@/run/redis.sock", "/run/redis.sock"),
        ("memory://", ""),
    ],
)
def test_schemes_that_name_a_file(text: str, path: str) -> None:
    url = StoreUrl.parse(text)
    assert (url.path, url.host, url.port) == (path, None, None)


def test_the_virtual_host_of_amqp_may_be_a_slash() -> None:
    assert StoreUrl.parse("amqp://guest@localhost//").path == "/"
    assert StoreUrl.parse("amqp://guest@localhost/").path == ""


def test_ipv6() -> None:
    url = StoreUrl.parse("redis://[::1]:6379/0")
    assert (url.host, url.port) == ("::1", 6379)


def test_password_without_user() -> None:
    url = StoreUrl.parse("redis://:secret@localhost")
    assert (url.user, url.password, url.db) == (None, "secret", None)


def test_several_urls_share_credentials_and_database() -> None:
    url = StoreUrl.parse("sentinel://:pw@a:26379;sentinel://b:26380;c/1")
    assert [(one.host, one.port) for one in (url, *url.alternatives)] == [
        ("a", 26379),
        ("b", 26380),
        ("c", None),
    ]
    assert {(one.scheme, one.password, one.db) for one in (url, *url.alternatives)} == {
        ("sentinel", "pw", 1)
    }


def test_a_semicolon_in_a_password_separates_nothing() -> None:
    assert split_urls("redis://:a;b@h:1/0") == ["redis://:a;b@h:1/0"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("localhost:6379", "The broker URL 'localhost:6379' is not a URL: write scheme://"),
        ("", "The broker URL '' is not a URL"),
        ("redis://h:port/0", "The broker URL redis://h:port/0 has no valid port: 'port' is not"),
        ("redis://h:99999/0", "'99999' is not a number between 0 and 65535."),
        ("redis://:a/b@h:6379/0", "write the special characters percent-encoded"),
    ],
)
def test_wrong_urls_are_told_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        StoreUrl.parse(text, what="broker URL")
    assert sentence in str(caught.value)


def test_a_wrong_url_does_not_print_its_password() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        StoreUrl.parse("redis://:topsecret/x@h:6379/0")
    assert "topsecret" not in str(caught.value)


def test_a_database_that_is_no_number() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"the database is 'zero', which is not a num"):
        _ = StoreUrl.parse("redis://:pw@localhost/zero").db


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:pw@h/0", "redis://:**@h/0"),
        ("amqp://u:p@h//;amqp://u:q@i//", "amqp://u:**@h//;amqp://u:**@i//"),
        ("redis://h/0?password=pw&db=1", "redis://h/0?password=**&db=1"),
        ("redis://:a@b@h/0", "redis://:**@h/0"),
        ("sqlite:///x.db", "sqlite:///x.db"),
        ("disabled", "disabled"),
    ],
)
def test_censored(text: str, shown: str) -> None:
    assert censored(text) == shown


@given(
    st.text(min_size=1, max_size=20),
    st.text(min_size=1, max_size=20),
    st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True),
    st.integers(0, 65535),
)
def test_what_is_quoted_comes_back(user: str, password: str, host: str, port: int) -> None:
    text = f"redis://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/1"
    url = StoreUrl.parse(text)
    assert (url.user, url.password, url.host, url.port, url.db) == (user, password, host, port, 1)
    assert url.censored() == f"redis://{quote(user, safe='')}:**@{host}:{port}/1"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    censored(text)
    try:
        StoreUrl.parse(text)
    except ImproperlyConfigured:
        pass
