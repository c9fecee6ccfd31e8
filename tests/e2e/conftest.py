"""An installation as a person would make it, and servers of the tests' own.

The wheels are built once and installed without network: what they depend on is taken from the
environment the tests run in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation
from tests.e2e.processes import RedisServer

ROOT = Path(__file__).resolve().parents[2]


def needed(what: str) -> None:
    """Skip the test for want of something; where CI says all must be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true says it must be there")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both distributions, built with the setuptools of this environment."""
    home = tmp_path_factory.mktemp("wheels")
    for name in ("umbel", "umbel-celery"):
        copied = home / name
        shutil.copytree(
            ROOT / "packages" / name,
            copied,
            ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"),
        )
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
        words += ["--no-build-isolation", "--wheel-dir", str(home), str(copied)]
        subprocess.run(words, check=True, capture_output=True, text=True, cwd=home)
    return sorted(home.glob("*.whl"))


@pytest.fixture(scope="session")
def make_installation(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory):
    """A function that makes a virtual environment: ``make("umbel", "celery")``, in that order."""

    def make(*wanted: str) -> Installation:
        home = tmp_path_factory.mktemp("venv")
        venv.create(home, symlinks=True, with_pip=False)
        made = Installation(home, wheels)
        made.borrow(sysconfig.get_path("purelib"))
        for name in wanted:
            if name == "umbel":
                made.install_wheels()
            elif not made.install_celery():
                needed("the real Celery (pip cannot reach it)")
        return made

    return make


@pytest.fixture(scope="session")
def installation(make_installation) -> Installation:
    """Both distributions of ours, and no real Celery."""
    return make_installation("umbel")


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A private server; with the password of the parameter, if there is one."""
    if shutil.which("redis-server") is None:
        needed("redis-server")
    with RedisServer(password=getattr(request, "param", None)) as server:
        yield server
