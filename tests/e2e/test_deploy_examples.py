"""The units and manifests of examples/deploy: they parse, and name commands and paths there are."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.e2e.processes import Program
from umbel.cli.main import umbel

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MANIFESTS: list[Any] = [
    one
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]
CONTAINERS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]
    for one in MANIFESTS
    if one["kind"] == "Deployment"
}


def understood(words: Sequence[str]) -> click.Context:
    """Have the command line read these words, without running anything."""
    program, name, *options = words
    assert program == "umbel"
    command = umbel.get_command(click.Context(umbel), name)
    assert command is not None
    with command.make_context(name, list(options)) as context:
        return context


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is missing")
    name = unit.name.replace("@.", "@mail.")
    copied = tmp_path / name
    copied.write_text(unit.read_text(encoding="utf-8"), encoding="utf-8")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copied)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    mine = [line for line in told.stderr.splitlines() if name in line]
    assert told.returncode == 0, told.stderr
    assert mine == []


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_command_of_a_unit_is_understood(unit: Path) -> None:
    found = re.search(r"^ExecStart=/usr/bin/env (.+)$", unit.read_text("utf-8"), re.MULTILINE)
    assert found is not None
    context = understood(shlex.split(found[1]))
    assert context.params


@pytest.mark.parametrize("name", sorted(CONTAINERS))
def test_the_command_of_a_container_is_understood(name: str) -> None:
    assert understood(CONTAINERS[name]["args"]).params


def test_the_grace_period_is_longer_than_a_warm_stop() -> None:
    from umbel.config.settings import defaults

    warm = defaults("umbel").worker_shutdown_timeout
    assert warm is not None
    (worker,) = [one for one in MANIFESTS if one["metadata"]["name"] == "shop-worker"][:1]
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > warm
    for unit in UNITS:
        text = unit.read_text("utf-8")
        if "umbel worker" in text:
            found = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
            assert found is not None
            assert int(found[1]) > warm


def test_a_worker_answers_the_probes_as_the_manifest_asks(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from umbel import Umbel\napp = Umbel('shop', broker='sqlite:///s.db')\n", encoding="utf-8"
    )
    container = CONTAINERS["shop-worker"]
    words = ["127.0.0.1:0" if one == "0.0.0.0:9100" else one for one in container["args"]]
    words = [one.replace("$(POD_NAME)", "pod-1") for one in words]
    (port,) = [one["containerPort"] for one in container["ports"]]
    assert f"0.0.0.0:{port}" in container["args"]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with Program([sys.executable, "-m", *words], cwd=tmp_path, env=env) as worker:
        told = worker.wait_for(r"Health and metrics at 127\.0\.0\.1:\d+")
        worker.wait_for("Connected to")
        address = re.search(r"Health and metrics at (\S+?)[\"\s]", told)
        assert address is not None
        paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in PROBES}
        for path in paths:
            with urllib.request.urlopen(f"http://{address[1]}{path}", timeout=10) as answer:
                assert answer.status == 200
        assert worker.end() == 0


PROBES = ("startup", "readiness", "liveness")
