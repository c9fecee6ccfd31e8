"""What of the settings reaches the drivers beside the URL."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import msgspec
import pytest

from umbel.config.conf import Conf
from umbel.config.driver_options import backend_options, broker_options
from umbel.drivers.redis.address import read
from umbel.errors import ImproperlyConfigured

URL = "redis://host/0"


def settings(profile: str = "celery", **changes: Any) -> Any:
    return Conf(profile=profile, changes=changes).settings


def test_nothing_is_said_by_default() -> None:
    for profile in ("umbel", "celery"):
        assert broker_options(settings(profile), URL) == {}
        assert backend_options(settings(profile), URL) == {}


@pytest.mark.parametrize("value", [True, 1, "true", "on"])
def test_true_means_tls_with_a_server_that_is_checked(value: Any) -> None:
    found = broker_options(settings(broker_use_ssl=value), URL)
    assert found == {"ssl": True}
    tls = read(URL, found).address.tls
    assert tls is not None
    assert tls.verify == "required"


@pytest.mark.parametrize("value", [False, None, 0, "false", ""])
def test_false_means_what_the_url_says(value: Any) -> None:
    assert broker_options(settings(broker_use_ssl=value), URL) == {}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (ssl.CERT_NONE, "none"),
        (ssl.CERT_OPTIONAL, "optional"),
        (ssl.CERT_REQUIRED, "required"),
        ("CERT_REQUIRED", "required"),
        ("optional", "optional"),
        (None, "none"),
    ],
)
def test_every_way_to_write_how_the_server_is_checked(mode: Any, expected: str) -> None:
    found = backend_options(settings(redis_backend_use_ssl={"ssl_cert_reqs": mode}), URL)
    tls = read(URL, found).address.tls
    assert tls is not None
    assert tls.verify == expected


def test_paths_and_names_without_prefix_cross_as_plain_values() -> None:
    given = {"ca_certs": Path("/ca.pem"), "keyfile": "/k.pem", "ssl_certfile": "/c.pem"}
    found = broker_options(settings(broker_use_ssl=given | {"check_hostname": False}), URL)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found)) == found
    tls = read(URL, found).address.tls
    assert tls is not None
    assert (tls.ca_certs, tls.keyfile, tls.certfile) == ("/ca.pem", "/k.pem", "/c.pem")
    assert tls.check_hostname is False


def test_what_is_no_tls_option_is_refused_by_name() -> None:
    found = broker_options(settings(broker_use_ssl={"ssl_min_version": 3}), URL)
    with pytest.raises(ImproperlyConfigured, match="ssl_min_version"):
        read(URL, found)
    with pytest.raises(ImproperlyConfigured, match="broker_use_ssl is 'maybe'"):
        broker_options(settings(broker_use_ssl="maybe"), URL)


def test_stores_that_are_no_servers_are_left_alone() -> None:
    assert broker_options(settings(broker_use_ssl=True), "sqlite:///file") == {}
    assert backend_options(settings(redis_backend_use_ssl=True), "memory://") == {}


def test_the_transport_options_win() -> None:
    made = settings(
        broker_connection_timeout=9, broker_transport_options={"socket_connect_timeout": 1}
    )
    assert broker_options(made, URL) == {"socket_connect_timeout": 1}


class Provider:
    def get_credentials(self) -> tuple[str, str]:
        return "user", "secret"


def test_timeouts_names_and_credentials_of_the_result_store() -> None:
    made = settings(
        redis_socket_timeout=7,
        redis_socket_connect_timeout=2,
        redis_backend_health_check_interval=11,
        redis_client_name="shop",
        redis_username="me",
        redis_password="secret",
    )
    address = read(URL, backend_options(made, URL)).address
    assert (address.socket_timeout, address.connect_timeout) == (7.0, 2.0)
    assert (address.health_check_interval, address.client_name) == (11.0, "shop")
    assert (address.username, address.password) == ("me", "secret")
    named = "redis://you:other@host/0"
    assert read(named, backend_options(made, named)).address.username == "you"


def test_a_class_of_credentials_crosses_by_its_name() -> None:
    found = backend_options(settings(redis_backend_credential_provider=Provider), URL)
    assert found == {"credential_provider": f"{__name__}.Provider"}
    assert read(URL, found).address.credentials is not None


def test_results_that_follow_the_broker_are_encrypted_as_it_is() -> None:
    made = settings("umbel", broker_url=URL, broker_use_ssl=True, broker_connection_timeout=2)
    assert backend_options(made, URL) == broker_options(made, URL)
    assert broker_options(made, URL) == {"ssl": True, "socket_connect_timeout": 2.0}
