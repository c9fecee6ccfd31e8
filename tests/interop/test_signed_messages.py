"""Signed messages (``auth``) between Umbel and the real Celery, in both directions."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.e2e.processes import Program, RedisServer

pytestmark = [pytest.mark.redis]

TASKS = """
import sys
from {module} import {app}

name = sys.argv[-1] if sys.argv[-1] in ("umbel-side", "celery-side", "eve") else "{side}"
app = {app}("signed", broker={url!r}, backend={url!r})
folder = "." if name == "eve" else "trusted"
app.conf.update(
    task_serializer="auth",
    accept_content=["auth"],
    result_serializer="json",
    result_accept_content=["json"],
    security_key=name + ".key",
    security_certificate=folder + "/" + name + ".pem",
    security_cert_store="trusted/*.pem",
)
app.setup_security()


@app.task(name="signed.add")
def add(x, y):
    return x + y
"""
CALL = """
import sys
from {module} import add
result = add.apply_async((2, 3), queue={queue!r})
print("sent", result.id)
if sys.argv[-1] != "eve":
    print("got", result.get(timeout=20))
"""


@pytest.fixture
def home(tmp_path: Path, redis_server: RedisServer) -> Path:
    for name in ("umbel-side", "celery-side"):
        make_certificate(tmp_path, name)
    make_certificate(tmp_path, "eve", trusted=False)
    url = redis_server.url(0)
    for side, module, app in (
        ("umbel-side", "umbel", "Umbel"),
        ("celery-side", "celery", "Celery"),
    ):
        text = TASKS.format(module=module, app=app, side=side, url=url)
        (tmp_path / f"on_{module}.py").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def run(home: Path, python: str, *words: str) -> Program:
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if python != sys.executable:
        env["PYTHONPATH"] = ""
    return Program([python, *words], cwd=home, env=env)


def test_each_side_runs_what_the_other_has_signed(home: Path, celery_python: str) -> None:
    theirs = celery_python
    ours = sys.executable
    options = ("-c", "1", "-l", "info")
    umbel = ("-m", "umbel", "worker", "-A", "on_umbel", "-Q", "u", *options)
    celery = ("-m", "celery", "-A", "on_celery", "worker", "-Q", "c", *options)
    with run(home, ours, *umbel) as u, run(home, theirs, *celery) as c:
        u.wait_for("Connected to")
        c.wait_for("ready")
        for python, module, queue in ((ours, "on_umbel", "c"), (theirs, "on_celery", "u")):
            with run(home, python, "-c", CALL.format(module=module, queue=queue)) as call:
                assert call.wait() == 0, call.output
                assert "got 5" in call.output
        u.wait_for(r"signed\.add\[.*succeeded")
        c.wait_for(r"signed\.add\[.*succeeded")
        # Signed by somebody who is not trusted.
        with run(home, ours, "-c", CALL.format(module="on_umbel", queue="u"), "eve") as eve:
            assert eve.wait() == 0, eve.output
        u.wait_for("is set aside.*is not in security_cert_store")
