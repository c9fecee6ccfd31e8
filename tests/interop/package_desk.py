"""Programs in an environment with one package that is built on Celery, Umbel answering for Celery.

An environment is the interpreter of the interop tests, which has the real Celery, kombu and
billiard, with the package's own directory before it (``make`` fills ``.venv-packages``). Umbel is
this source tree's, and ``umbel_celery_finder`` takes precedence over the real Celery.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(__file__).parent / "package_programs"
PLACE = Path(os.environ.get("UMBEL_TEST_PACKAGES") or ROOT / ".venv-packages")
PATIENCE = 50.0


class PackageDesk:
    """One package's environment. Processes started with ``start`` end with the test."""

    def __init__(self, python: str, home: Path, *packages: str) -> None:
        self._python = python
        self.home = home
        (home / "sitecustomize.py").write_text("import umbel_celery_finder\n")
        sources = [ROOT / "packages" / name / "src" for name in ("umbel", "umbel-celery")]
        places = [home, *sources, *(PLACE / name for name in ("umbel", *packages))]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not _ours(name)},
            "PYTHONPATH": os.pathsep.join(map(str, places)),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``python`` with these words in the test's directory."""
        return subprocess.Popen(
            [self._python, *words],
            cwd=self.home,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Run ``python`` with these words to its end; return what it printed, asserting exit 0."""
        process = self.start(*words)
        printed, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, printed
        return printed

    def program(self, name: str, *words: str) -> str:
        """Run one of the programs beside this file."""
        return self.run(str(PROGRAMS / name), *words)


def _ours(name: str) -> bool:
    return name.startswith(("UMBEL_", "CELERY_", "DJANGO_"))


def needs(python: str, *packages: str) -> str:
    """Return the interpreter; skip the test, or with ``CI=true`` fail it, where something lacks."""
    missing = [each for each in ("umbel", *packages) if not (PLACE / each).is_dir()]
    if not missing:
        return python
    told = (
        f"{PLACE} has no {', '.join(missing)}: make test fills it, where there is a package index"
    )
    if os.environ.get("CI") == "true":
        pytest.fail(told, pytrace=False)
    return pytest.skip(told)
