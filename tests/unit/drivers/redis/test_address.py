"""URLs and options of the Redis driver: what is understood, and how mistakes are told."""

from __future__ import annotations

from typing import Any

import pytest

from umbel.drivers.redis.address import Endpoint, Options, read
from umbel.errors import ImproperlyConfigured


def test_a_bare_url_has_every_default() -> None:
    address = read("redis://", {}).address
    assert address.endpoints == (Endpoint("localhost", 6379),)
    assert address.db == 0
    assert address.password is None
    assert address.tls is None
    assert address.connect_timeout == address.socket_timeout == 5.0


def test_a_full_url() -> None:
    address = read("redis://user:p%40ss@example.org:7000/5", {}).address
    assert address.endpoints == (Endpoint("example.org", 7000),)
    assert (address.username, address.password, address.db) == ("user", "p@ss", 5)
    assert "p%40ss" not in address.url
    assert "example.org:7000" in address.url


@pytest.mark.parametrize("scheme", ["redis+socket", "unix", "valkey+socket"])
def test_a_unix_socket(scheme: str) -> None:
    address = read(f"{scheme}://:secret@/run/redis.sock?virtual_host=7", {}).address
    assert address.endpoints == (Endpoint("", 0, "/run/redis.sock"),)
    assert (address.password, address.db) == ("secret", 7)


def test_several_urls_are_tried_in_turn() -> None:
    address = read("redis://:pw@one/2;redis://two:7001/2", {}).address
    assert address.endpoints == (Endpoint("one", 6379), Endpoint("two", 7001))
    assert address.password == "pw"


def test_sentinels() -> None:
    options = {
        "master_name": "mymaster",
        "min_other_sentinels": 1,
        "sentinel_kwargs": {"password": "other"},
    }
    address = read("sentinel://:pw@one/2;sentinel://two:7001/2", options).address
    assert address.endpoints == ()
    assert address.sentinels is not None
    assert address.sentinels.endpoints == (Endpoint("one", 26379), Endpoint("two", 7001))
    assert address.sentinels.master_name == "mymaster"
    assert address.sentinels.password == "other"
    assert (address.password, address.db) == ("pw", 2)


def test_tls_verifies_unless_told_otherwise() -> None:
    strict = read("rediss://host/0", {}).address.tls
    assert strict is not None
    assert strict.verify == "required"
    lax = read("rediss://host/0?ssl_cert_reqs=CERT_NONE&ssl_ca_certs=/ca.pem", {}).address.tls
    assert lax is not None
    assert (lax.verify, lax.ca_certs) == ("none", "/ca.pem")


@pytest.mark.parametrize(
    ("value", "verify"), [("optional", "optional"), (0, "none"), (2, "required")]
)
def test_tls_takes_celerys_option_mapping(value: Any, verify: str) -> None:
    tls = read("redis://host/0", {"ssl": {"ssl_cert_reqs": value}}).address.tls
    assert tls is not None
    assert tls.verify == verify


def test_options_of_the_url_win() -> None:
    assert read("redis://h?socket_timeout=2", {"socket_timeout": 9}).address.socket_timeout == 2.0


def test_celerys_options_are_accepted() -> None:
    options = {
        "visibility_timeout": 43200,
        "fanout_prefix": True,
        "fanout_patterns": True,
        "max_connections": 20,
        "health_check_interval": 10,
        "retry_on_timeout": True,
        "global_keyprefix": "bp:",
        "sep": ":",
        "priority_steps": list(range(10)),
        "queue_order_strategy": "round_robin",
    }
    found = read("redis://", options)
    assert found.visibility_timeout == 43200
    assert found.keys.global_keyprefix == "bp:"
    assert found.keys.priority_steps == tuple(range(10))


class Provider:
    def get_credentials(self) -> tuple[str, str]:
        return "ann", "fresh"


class Token:
    def get_credentials(self) -> tuple[str]:
        return ("token",)


def test_credentials_are_asked_for_by_dotted_path() -> None:
    path = f"{__name__}.Provider"
    address = read(f"redis://?credential_provider={path}", {}).address
    assert address.credentials is not None
    assert address.credentials() == ("ann", "fresh")
    token = read("redis://", {"credential_provider": Token()}).address
    assert token.credentials is not None
    assert token.credentials() == (None, "token")


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("redis://h/x", {}, "not a number"),
        ("redis://h/0", {"db": 1.5}, "not a whole number"),
        ("redis://h:99999/0", {}, "no valid port"),
        ("redis+socket://", {}, "names no socket"),
        ("sentinel://h", {}, "needs the transport option 'master_name'"),
        ("sentinel://h", {"master_name": "m", "sentinel_kwargs": 3}, "a mapping with 'username'"),
        ("rediss://h?ssl_cert_reqs=maybe", {}, "'required', 'optional' or 'none', not 'maybe'"),
        ("redis://h", {"socket_timeout": "soon"}, "'socket_timeout' for redis://h must be a num"),
        ("redis://h", {"socket_timeout": 0}, "at least 0.001"),
        ("redis://h", {"socket_keepalive": "perhaps"}, "must be true or false"),
        ("redis://h", {"priority_steps": [0, 11]}, "a list of numbers from 0 to 9"),
        ("redis://h", {"global_keyprefix": 3}, "must be a text, not 3"),
        ("redis://h", {"visibilty_timeout": 3}, "Did you mean 'visibility_timeout'?"),
        ("redis://h", {"credential_provider": "no.such.Thing"}, "importable"),
        ("redis://h", {"credential_provider": 3}, "an object with get_credentials()"),
    ],
)
def test_mistakes_are_told_in_a_sentence(url: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(url, options)
    assert sentence in str(caught.value)


def test_no_message_tells_the_password() -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read("redis://:hunter2@h/0", {"nonsense": 1})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("redis://h/0", "redis://h/1", True),
        ("redis://h/0", "redis://h:6379", True),
        ("redis://h/0", "redis://other/0", False),
        ("redis://h/0", "redis://:pw@h/0", False),
        ("redis://h/0", "rediss://h/0", False),
    ],
)
def test_which_servers_are_the_same(one: str, two: str, same: bool) -> None:
    found: Options = read(one, {})
    assert found.address.same_server(read(two, {}).address) is same
