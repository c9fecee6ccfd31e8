"""Wall clocks that can be made to jump, one for each worker.

A small library (``programs/clock_shift.c``) is compiled with the system's compiler and preloaded
into the workers: Python, C extensions and everything else in the process see the same wrong time,
and nothing in the product knows of it. Where there is no compiler, ``make_clocks`` returns None and
the faults of the clock are left out of the plan.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "programs" / "clock_shift.c"


class Clocks:
    """Makes clocks below one directory."""

    def __init__(self, home: Path, library: Path) -> None:
        self._home = home
        self._library = library

    def clock(self, name: str) -> Clock:
        """Return a new clock that is right."""
        return Clock(self._home / f"clock-{name}", self._library)


class Clock:
    """The wall clock of the processes started with ``environment``."""

    def __init__(self, path: Path, library: Path) -> None:
        self._path = path
        self._library = library
        self.shift(0.0)

    def environment(self) -> dict[str, str]:
        """Return the variables that put a process under this clock."""
        return {"LD_PRELOAD": str(self._library), "TORTURE_CLOCK": str(self._path)}

    def shift(self, seconds: float) -> None:
        """Make it be wrong by this much from now on."""
        data = struct.pack("=q", int(seconds * 1e9))
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(data)


def make_clocks(home: Path) -> Clocks | None:
    """Compile the library; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = home / "clock_shift.so"
    words = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"torture: {SOURCE.name} does not compile:\n{done.stderr}")
    return Clocks(home, library)
