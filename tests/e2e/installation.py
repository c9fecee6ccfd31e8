"""One virtual environment with our wheels in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CELERY = "celery==5.7.0"


class Installation:
    """Where the commands are that a person would type."""

    def __init__(self, home: Path, wheels: list[Path]) -> None:
        self.home = home
        self.bin = home / "bin"
        self.python = self.bin / "python"
        self._wheels = wheels
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.site_packages = home / "lib" / version / "site-packages"

    def borrow(self, directory: str) -> None:
        """Let modules of another environment be imported, after the installed ones."""
        (self.site_packages / "zz_borrowed.pth").write_text(directory + "\n")

    def install_wheels(self) -> None:
        """Install both distributions."""
        self._pip("install", "--no-index", "--no-deps", *map(str, self._wheels), check=True)

    def install_celery(self) -> bool:
        """Install the real Celery; False when there is no way to get it."""
        return self._pip("install", "--ignore-installed", CELERY).returncode == 0

    def uninstall(self, name: str) -> None:
        self._pip("uninstall", "--yes", name, check=True)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of somebody who has activated this installation."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UMBEL_", "CELERY_", "PYTHON", "COV_", "PYTEST"))
        }
        path = f"{self.bin}{os.pathsep}{kept.get('PATH', '')}"
        return kept | {"PATH": path, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"} | more

    def run(
        self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end (at most a minute) and return what it printed."""
        return subprocess.run(
            [self._found(words[0]), *words[1:]],
            cwd=cwd or self.home,
            env=self.environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _found(self, command: str) -> str:
        return str(self.bin / command) if (self.bin / command).exists() else command

    def _pip(self, *words: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        base = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        return subprocess.run(
            [*base, "--python", str(self.python), *words],
            capture_output=True,
            text=True,
            check=check,
        )
