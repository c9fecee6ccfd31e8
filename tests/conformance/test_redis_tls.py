"""TLS asked for by settings: the app and the worker both encrypt, and check whom they talk to."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import RedisServer, free_port
from umbel import Umbel
from umbel.app import logs
from umbel.drivers.opening import open_broker
from umbel.errors import BrokerUnavailable
from umbel.worker.loading import make_plan
from umbel.worker.wiring import open_stores
from umbel.worker.worker_options import WorkerOptions

pytestmark = pytest.mark.redis


class Secured:
    """A Redis that speaks TLS on one port, and the certificate to know it by."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port = port
        self.certificate = certificate

    def url(self, scheme: str = "redis") -> str:
        return f"{scheme}://localhost:{self.port}/0"

    @property
    def mapping(self) -> dict[str, Any]:
        return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": self.certificate}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    server, openssl = shutil.which("redis-server"), shutil.which("openssl")
    if server is None or openssl is None:
        pytest.skip("no redis-server or no openssl in PATH")
    if b"tls-auth-clients" not in Path(server).read_bytes():
        pytest.skip("this redis-server was built without TLS")
    home = tmp_path_factory.mktemp("tls")
    key, certificate, port = home / "key.pem", home / "certificate.pem", free_port()
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    words = ["--tls-port", str(port), "--tls-cert-file", str(certificate)]
    words += ["--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate)]
    redis = RedisServer(*words, "--tls-auth-clients", "no").start()
    yield Secured(port, certificate)
    redis.close()


def app_of(secured: Secured, profile: str = "umbel", **settings: Any) -> Umbel:
    settings = {"broker": secured.url(), "set_as_current": False} | settings
    return Umbel("tls", profile=profile, **settings)


def plan_of(app: Umbel) -> Any:
    log = logs.log_plan(app.settings, node="celery@here", loglevel=None, logfile=None)
    return make_plan(app, WorkerOptions(), pool="solo", node="celery@here", log=log)


def test_the_broker_is_encrypted_and_its_results_with_it(secured: Secured) -> None:
    app = app_of(secured, broker_use_ssl=secured.mapping)
    assert app.broker.ping().startswith("Redis")
    assert app.result_backend.ping().startswith("Redis")
    app.close()


def test_the_supervisor_opens_the_stores_in_the_same_way(secured: Secured) -> None:
    app = app_of(
        secured,
        profile="celery",
        backend=secured.url(),
        broker_use_ssl=secured.mapping,
        redis_backend_use_ssl={"ssl_cert_reqs": "CERT_NONE"},
    )
    plan = plan_of(app)
    assert plan.broker_options["ssl_cert_reqs"] == "required"
    assert plan.broker_options["ssl_ca_certs"] == str(secured.certificate)
    broker, backend = open_stores(plan)
    assert backend is not None
    assert broker.ping()
    assert backend.ping()
    broker.close()
    backend.close()


def test_a_server_that_cannot_prove_itself_is_refused(secured: Secured) -> None:
    app = app_of(secured, broker_use_ssl=True)
    with pytest.raises(BrokerUnavailable, match=r"(?i)certificate"):
        app.broker.ping()
    app.close()


def test_without_the_setting_nothing_plain_is_understood(secured: Secured) -> None:
    app = app_of(secured, broker_publish_timeout=1.0)
    with pytest.raises(BrokerUnavailable):
        app.broker.ping()
    app.close()


def test_a_url_says_the_same(secured: Secured) -> None:
    broker = open_broker(f"{secured.url('rediss')}?ssl_ca_certs={secured.certificate}")
    assert broker.ping()
    broker.close()
