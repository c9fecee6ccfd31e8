"""The file that tells which process a worker is."""

from __future__ import annotations

import os
from pathlib import Path

from umbel.errors import ImproperlyConfigured


class PidFile:
    """Written at the start, removed at the end by the process that wrote it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def write(self) -> None:
        """Claim the file. Raises ImproperlyConfigured when a live process holds it."""
        try:
            self._create()
        except FileExistsError:
            holder = self._holder()
            if holder is not None and holder != os.getpid() and _lives(holder):
                raise ImproperlyConfigured(
                    f"the pid file {self._path} belongs to process {holder}, which is alive;"
                    " is this worker running already?"
                ) from None
            self._path.unlink(missing_ok=True)
            self._create()
        except OSError as error:
            raise ImproperlyConfigured(
                f"the pid file {self._path} cannot be written: {error.strerror}"
            ) from error

    def remove(self) -> None:
        """Remove the file if it is still ours."""
        if self._holder() == os.getpid():
            self._path.unlink(missing_ok=True)

    def _create(self) -> None:
        with self._path.open("x", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")

    def _holder(self) -> int | None:
        try:
            return int(self._path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
