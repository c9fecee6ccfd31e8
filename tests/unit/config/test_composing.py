"""URLs that follow from other settings."""

from __future__ import annotations

from typing import Any

import pytest

from umbel.config.conf import Conf


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "amqp://guest@localhost//"),
        ({"broker_url": "redis://h", "broker_host": "i"}, "redis://h"),
        ({"broker_transport": "redis"}, "redis://localhost/"),
        (
            {
                "broker_host": "h",
                "broker_port": 1,
                "broker_user": "u",
                "broker_password": "p@",
                "broker_vhost": "v",
            },
            "amqp://u:p%40@h:1/v",
        ),
    ],
)
def test_the_broker_of_the_celery_profile(changes: dict[str, Any], url: str) -> None:
    conf = Conf(profile="celery", changes=changes)
    assert conf.settings.broker_url == url
    assert conf.broker_url == changes.get("broker_url")


def test_parts_are_stronger_than_the_default_file() -> None:
    conf = Conf(changes={"broker_transport": "redis", "broker_host": "h", "broker_vhost": "2"})
    assert conf.settings.broker_url == "redis://h/2"


@pytest.mark.parametrize(
    ("changes", "backend"),
    [
        ({}, None),
        ({"result_backend": "disabled"}, None),
        ({"result_backend": "disabled://"}, None),
        ({"result_backend": "redis"}, "redis://localhost/0"),
        (
            {"result_backend": "redis", "redis_host": "h", "redis_db": 3, "redis_password": "p"},
            "redis://:p@h/3",
        ),
        ({"result_backend": "rpc"}, "rpc://"),
        ({"result_backend": "database", "database_url": "sqlite:///x"}, "sqlite:///x"),
        ({"result_backend": "django-db"}, "django-db"),
        ({"result_backend": dict}, dict),
    ],
)
def test_the_backend_of_the_celery_profile(changes: dict[str, Any], backend: Any) -> None:
    assert Conf(profile="celery", changes=changes).settings.result_backend == backend


def test_in_the_umbel_profile_results_rest_where_messages_do() -> None:
    options = {"master_name": "m"}
    conf = Conf(changes={"broker_url": "sentinel://h", "broker_transport_options": options})
    assert conf.settings.result_backend == conf.result_backend == "sentinel://h"
    assert conf.settings.result_backend_transport_options == options
    assert Conf(changes={"broker_url": "amqp://h"}).settings.result_backend == "rpc://"
    own = Conf(changes={"broker_url": "redis://h", "result_backend": None})
    assert own.settings.result_backend is None
    assert Conf().settings.result_backend == "sqlite:///umbel.sqlite3"
